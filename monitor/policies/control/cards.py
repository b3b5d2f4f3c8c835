"""What people should know of the detectors of control changes."""

from __future__ import annotations

from monitor.detectors.base import Detector

__all__ = ["CONTROL"]

_PLAN = "plan it with its exact new value under planned"
_SAFE_REPO = "https://github.com/safe-global/safe-smart-account"


def _card(id: str, title: str, catches: str, misses: str, lookalikes: str, *references: str) -> Detector:
    return Detector(id, title, catches, misses, lookalikes, evidence=(), references=references)


CONTROL = (
    _card(
        "CT-1",
        "Implementation of a Safe changed",
        "Other code behind a Safe, also where it was written by a delegatecall and no event says so: critical; to a "
        "released Safe, known by its code hash, medium. At the first reading of a Safe that runs other code: medium.",
        "A change that is undone in the same block without an event.",
        f"A migration to a newer release, or to code of your own: {_PLAN}.",
        _SAFE_REPO,
        "https://www.npmjs.com/package/@safe-global/safe-deployments",
    ),
    _card(
        "CT-2",
        "Safe ran foreign code",
        "A delegatecall of a Safe to code that is not, by its hash, a released MultiSend, MultiSendCallOnly, "
        "SignMessageLib, CreateCall or migration of Safe; also inside a batch: critical.",
        "Such calls by modules, where no traces are read.",
        f"A library that you know: {_PLAN}, without times for one that stays.",
        _SAFE_REPO,
    ),
    _card(
        "CT-3",
        "Owners or threshold of a Safe changed",
        "An owner who came or went, a threshold that rose: high. A threshold that fell, or more than a third of the "
        "owners within 7 days, or either without an event: critical. A first reading with threshold 0, or 1 beside "
        "modules: low.",
        "Owners whose keys were taken over while the addresses stayed.",
        f"A change of staff: {_PLAN}, each owner who comes and each who goes.",
    ),
    _card(
        "CT-4",
        "Module, guard or fallback handler of a Safe changed",
        "A module that was enabled, a guard that was removed, or any such change without an event: critical. A module "
        "that was disabled, another guard or fallback handler: high.",
        "What a module that is trusted already does.",
        f"The set-up of an allowance or recovery module: {_PLAN}.",
    ),
    _card(
        "CT-5",
        "Proxy upgraded",
        "Another implementation, beacon, facet or admin: high. New code younger than 7 days or labelled bad, and other "
        "code at the same address: critical.",
        "Proxies of unknown kinds, which show no slot and emit no event; whether the new code was published.",
        f"A planned upgrade, which is often of young code: {_PLAN}.",
        "https://eips.ethereum.org/EIPS/eip-1967",
        "https://eips.ethereum.org/EIPS/eip-2535",
    ),
    _card(
        "CT-6",
        "Owner or role of a contract changed",
        "A new owner, an offer to one, a role that was granted: high, critical where he is labelled bad. A role that "
        "was taken away: medium.",
        "Rights of contracts that neither answer owner() nor emit the usual events.",
        f"Rotation of keys: {_PLAN}.",
    ),
    _card(
        "CT-7",
        "Delay of a time lock changed",
        "A shorter delay: high, none left: critical. A longer one: low.",
        "Operations that were scheduled before.",
        f"A decision of your own: {_PLAN}, in seconds.",
    ),
    _card(
        "CT-8",
        "Change of control proposed",
        "A proposed transaction, or one that waits in a time lock, that would change control: medium without a "
        "signature, high with some; with as many as are needed critical, if it would run foreign code, change "
        "implementation, module, guard or threshold. A payment to an unexpected address that can be executed: low.",
        "What is signed and kept from the Safe Transaction Service, and all of it where no service is configured.",
        f"Proposals of your own: {_PLAN}, kind proposal, with the hash of the Safe transaction or the operation.",
    ),
    _card(
        "CT-10",
        "Safe transaction pays for its gas",
        "A Safe transaction with a gas token, a gas price and a refund receiver whom nobody expects: critical.",
        "A siphon through ordinary payments.",
        "A relayer that is paid this way: trust the receiver.",
    ),
    _card(
        "CT-11",
        "Signatories changed",
        "A multisig account of NEM with other signatories: high; with fewer signatures needed: critical.",
        "Keys of signatories that were taken over.",
        f"A change of staff: {_PLAN}, each signatory.",
    ),
    _card(
        "CT-12",
        "Account lets other code act for it",
        "An EIP-7702 delegation of an account, or of an owner of a Safe, to code that the wallet does not trust: "
        "critical; found at the first reading: high.",
        "Code that the wallet trusts and that is exchanged behind its address where it is a proxy.",
        "A smart account of your own: trust the delegate, or plan it.",
        "https://eips.ethereum.org/EIPS/eip-7702",
    ),
    _card(
        "PW-8",
        "Personal account lets other code act for it",
        "An EIP-7702 delegation to code that the wallet does not trust: critical; found at the first reading: high.",
        "Code that the wallet trusts and that is exchanged behind its address where it is a proxy.",
        "A wallet that turns itself into a smart account: trust its delegate.",
        "https://eips.ethereum.org/EIPS/eip-7702",
    ),
)
