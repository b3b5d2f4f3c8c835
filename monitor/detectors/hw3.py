"""HW-3, total novel outflow: how much leaves to unfamiliar addresses altogether."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter
from monitor.detectors.shares import log_share
from monitor.features.maths import log10

DETECTOR = Detector(
    id="HW-3",
    title="Much leaving to unfamiliar destinations altogether",
    catches="A theft spread over many addresses, within ten minutes, an hour, six hours or a day; what goes to "
    "addresses first paid within a day counts once more.",
    misses="A theft paced inside the ordinary daily outflow.",
    lookalikes="A market panic, when many customers withdraw to new addresses at once.",
    evidence=(
        Evidence.TOTAL_10M, Evidence.TOTAL_1H, Evidence.TOTAL_6H, Evidence.TOTAL_24H, Evidence.FRESH_1H,
        Evidence.DAY_LEVEL, Evidence.SHARE,
    ),
    parameters=(
        Parameter(
            "weight", ("uses:TOTAL_10M", "uses:TOTAL_1H", "uses:TOTAL_6H", "uses:TOTAL_24H"),
            1.0, 0.0, 10.0, "weight of its statistics among those of their channels",
        ),
        Parameter("fresh", ("uses:FRESH_1H",), 3.0, 0.0, 10.0, "weight of payments to addresses of the last day"),
    ),
    rules=(
        "windows are bucket rings of 10 x 1 min, 12 x 5 min, 24 x 15 min, 48 x 30 min",
        "10 min and 1 h are divided by the wallet's usual level of that hour and weekday, 0.3 at least",
    ),
    references=("LuBian 2020: 91 transactions within minutes", "Upbit 2025: about 80 withdrawals in 15 minutes"),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    seasonal = f.typical * f.season
    e[Evidence.TOTAL_10M] = log_share(f.u10m / seasonal)
    e[Evidence.TOTAL_1H] = log_share(f.u1h / seasonal)
    e[Evidence.TOTAL_6H] = log_share(f.u6h / f.typical)
    e[Evidence.TOTAL_24H] = log_share(f.u24h / f.typical)
    e[Evidence.FRESH_1H] = log_share(f.fresh / seasonal)
    e[Evidence.DAY_LEVEL] = 0.5 * min(1.0, max(-1.5, e[Evidence.TOTAL_24H] + 0.5))
    e[Evidence.SHARE] = min(1.0, max(-1.5, log10(f.share / 0.05 + 1e-6)))
