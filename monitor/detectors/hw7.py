"""HW-7, signer and fee fingerprint: the transaction does not look like the wallet's own."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

DETECTOR = Detector(
    id="HW-7",
    title="The transaction looks unlike the wallet's own",
    catches="Adds weight where fee rate, nonce gap, gas limit or number of outputs are unusual for the wallet; on UTXO "
    "chains fee rate, numbers of inputs and outputs, version, form of scripts, and together lock time, replaceability, "
    "round fee and round amount: thieves sign with software of their own, pay to be first, and type what they pay.",
    misses="A thief inside the wallet's own software. Sources that do not tell these fields (they count as missing).",
    lookalikes="A software upgrade: a lasting change is usual after 20 transactions; a fee spike of the whole chain.",
    evidence=(Evidence.ODD,),
    parameters=(Parameter("most", ("odd_most",), 1.0, 0.0, 6.0, "added at most"),),
    rules=(
        "each field adds log10(1/2 + 1/16 / p), 0.5 at most, with p the wallet's own share of such transactions",
        "a field says nothing before 50 payments with it; a usual look takes nothing away; it counts where 3 % moved",
    ),
    references=(
        "KuCoin 2020: 500 gwei against 50 to 70", "DMM 2024: a fee of 0.1 BTC against about 0.0013",
        "Ronin 2022: a priority fee of 67 against 18 gwei", "Bithumb: exactly 0.1 BTC of fee on about 400 transactions",
    ),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.ODD] = min(q.odd_most, f.odd) if f.share > 0.03 else 0.0
