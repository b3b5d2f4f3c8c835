"""Detectors of users' own: what a file may hold, what they see and say, and that their memory is state as any other."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import pytest

import monitor
from monitor.app import make_engine, run_backtest
from monitor.config import Config, config_from_mapping
from monitor.engine import Engine
from monitor.errors import ConfigError, DetectorError
from monitor.model import Block, BlockRef, ControlEvent, ControlKind, Severity, Transfer, TransferKind, Tx
from monitor.own import OwnDetector, OwnFile, View, detector, load_detectors
from monitor.own.failures import Failures
from monitor.policies.own import MOST_MEMORY

EXAMPLE = Path(__file__).parents[2] / "config" / "detectors" / "example.py"
ETH, ETHER = "eip155:1", 10**18
NATIVE = f"{ETH}/slip44:60"
HOT, CUSTOMER, FRIEND, VAULT = ("0x" + digit * 40 for digit in "1234")
MIDNIGHT = 1_700_006_400  # 2023-11-15 00:00 UTC
NOON = MIDNIGHT + 12 * 3600
ENGINES: tuple[Literal["local", "processes"], ...] = ("local", "processes")
HEAD = "from monitor.own import detector\n"


def made(*own: Any, role: str = "hot", settings: dict[str, Any] | None = None) -> Config:
    """One wallet with a trusted friend, and detectors."""
    wallet = {"id": "w", "role": role, "addresses": [f"ethereum:{HOT}"], "trusted": [f"ethereum:{FRIEND}"]}
    return config_from_mapping({"wallets": [{**wallet, "detectors": settings or {}}]}, Path(), "case", own=own)


class Chain:
    """Blocks through the engine of a configuration."""

    def __init__(self, *own: Any, held: int | None = 1000 * ETHER, on_failure: Any = None, **more: Any) -> None:
        self.engine: Engine = make_engine(made(*own, **more), on_failure)
        self.held, self.number = held, 0
        self.undo: list[Any] = []
        self.state: list[list[tuple[bytes, bytes]]] = []

    def block(self, at: int, *moves: tuple[str, str, int], controls: Sequence[ControlEvent] = ()) -> list[Any]:
        """Connect a block of payments (from, to, base units); findings of detectors of the user's own."""
        self.number += 1
        ref = BlockRef(ETH, self.number, f"b{self.number}")
        transfers = tuple(
            Transfer(ref, Tx(f"t{self.number}-{n}", n, initiator=sender), n, TransferKind.NATIVE, NATIVE, (sender,),
                     to, value, (value,))
            for n, (sender, to, value) in enumerate(moves)
        )  # fmt: skip
        told = {("w", ETH, NATIVE): self.held} if self.number == 1 and self.held is not None else {}
        self.state.append(self.engine.dump())
        folded = self.engine.connect(Block(ref, "", at, transfers, tuple(controls)), told)
        self.undo.append(folded.undo)
        return [finding for finding in folded.findings if "title" in finding.evidence]

    def back(self) -> None:
        """Disconnect the last block."""
        self.number -= 1
        self.engine.disconnect(self.undo.pop())
        assert self.engine.dump() == self.state.pop()


def file(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def problems(work: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        work()
    return [str(problem) for problem in caught.value.problems]


# -- what a detector sees and says ------------------------------------------------------------------------------------


def test_a_first_detector_is_ten_lines() -> None:
    """A function with an id and a title; what it returns is a finding with exact amounts and what the payment left."""

    @detector("BIG-1", "Large payment", parameters={"share": (0.1, 0, 1, "share of the balance")})
    def big(flow: Any, view: View) -> Any:
        """A payment of more than a tenth of the balance."""
        if view.share is not None and view.share > view.number("share"):
            return "high", f"{view.amount} is a lot", {"share": float(view.share)}
        return None

    chain = Chain(big)
    assert chain.block(NOON, (HOT, CUSTOMER, 100 * ETHER)) == []
    (finding,) = chain.block(NOON + 60, (HOT, CUSTOMER, 91 * ETHER))
    assert (finding.detector, finding.severity, finding.summary) == ("BIG-1", Severity.HIGH, "91 ETH is a lot")
    assert finding.evidence == {"share": 91 / 900, "balance_after": str(809 * ETHER), "title": "Large payment"}
    assert (finding.value, finding.tx, finding.destination) == (91 * ETHER, "t2-0", CUSTOMER)
    assert not finding.budget_exceeded


def test_everything_in_a_view() -> None:
    """Balances run with the flows of a block; times, trust and labels are those that built-in policies see."""
    seen: list[Any] = []

    @detector("ALL-1", "All of it", sees="flows", catches="Nothing.")
    def everything(flow: Any, view: View) -> None:
        seen.append(
            (flow.value // ETHER, view.before and view.before // ETHER, view.after and view.after // ETHER, view.share,
             view.expected, view.wallet.id, view.chain, view.block, view.at, view.since, view.time.isoformat(),
             view.label(CUSTOMER), view.balance(NATIVE) and view.balance(NATIVE) // ETHER)
        )  # fmt: skip

    chain = Chain(everything)
    chain.block(NOON, (CUSTOMER, HOT, 500 * ETHER), (HOT, FRIEND, 300 * ETHER))
    when = "2023-11-15T12:00:00+00:00"
    assert seen == [
        (500, 1000, 1500, Fraction(1, 2), False, "w", ETH, 1, NOON, NOON, when, None, 1000),
        (300, 1500, 1200, Fraction(1, 5), True, "w", ETH, 1, NOON, NOON, when, None, 1000),
    ]
    seen.clear()
    unknown = Chain(everything, held=None)
    unknown.block(NOON, (HOT, CUSTOMER, ETHER))
    assert seen[0][1:4] == (None, None, None)


def test_payments_alone_unless_it_asks_for_more() -> None:
    """Arrivals are shown to `flows` only."""

    @detector("OUT-1", "Any payment", catches="All.")
    def paid(flow: Any, view: View) -> Any:
        return "low", "paid"

    @detector("ANY-1", "Any flow", catches="All.", sees="flows")
    def moved(flow: Any, view: View) -> Any:
        return Severity.LOW, "moved"

    chain = Chain(paid, moved)
    assert [f.detector for f in chain.block(NOON, (CUSTOMER, HOT, 5), (HOT, CUSTOMER, 6))] == [
        "ANY-1", "OUT-1", "ANY-1",
    ]  # fmt: skip


def test_the_example_speaks_where_it_should() -> None:
    """Each detector of the example: where it speaks, where it does not, and its look-alike."""
    chain = Chain(EXAMPLE)
    assert [f.detector for f in chain.block(MIDNIGHT + 60, (HOT, CUSTOMER, 51 * ETHER))] == ["NIGHT-1"]
    assert chain.block(MIDNIGHT + 120, (HOT, FRIEND, 300 * ETHER)) == []  # trusted
    assert chain.block(NOON, (HOT, CUSTOMER, 100 * ETHER)) == []  # by day
    targets = [f"0x{n:040x}" for n in range(100, 108)]
    found = [chain.block(NOON + 3600 + 60 * n, (HOT, to, 1)) for n, to in enumerate(targets)]
    assert [f.detector for f in found[-1]] == ["PACE-1"] and not any(found[:-1])
    assert found[-1][0].evidence["addresses"] == 8
    again = [chain.block(NOON + 7200 + 90 * n, (HOT, to, 1)) for n, to in enumerate(targets)]
    assert not any(again)  # ninety seconds apart: seven in ten minutes


def test_changes_of_control_are_shown_to_whoever_asks() -> None:
    """An approval of a treasury; one that is taken back says nothing, and other roles are not judged."""
    event = ControlEvent(
        BlockRef(ETH, 1, "b1"), Tx("tc", 0, HOT), ControlKind.APPROVAL, HOT, VAULT, {"asset": NATIVE, "value": "5"}
    )
    back = ControlEvent(event.block, event.tx, event.kind, HOT, VAULT, {"asset": NATIVE, "value": "0"})
    (finding,) = Chain(EXAMPLE, role="treasury").block(NOON, controls=[event])
    assert (finding.detector, finding.destination, finding.evidence["kind"]) == ("GRANT-1", VAULT, "approval")
    assert Chain(EXAMPLE, role="treasury").block(NOON, controls=[back]) == []
    assert Chain(EXAMPLE, role="hot").block(NOON, controls=[event]) == []


# -- settings ---------------------------------------------------------------------------------------------------------


def test_a_wallet_sets_its_parameters() -> None:
    """As of built-in detectors: any case of letters, exact numbers, an off switch."""
    at_night = (MIDNIGHT, (HOT, CUSTOMER, 51 * ETHER))
    assert Chain(EXAMPLE, settings={"NIGHT-1": {"share": 0.051}}).block(*at_night) == []
    assert len(Chain(EXAMPLE, settings={"night-1": {"share": 0.0509}}).block(*at_night)) == 1
    assert Chain(EXAMPLE, settings={"NIGHT-1": {"enabled": False}}).block(*at_night) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"NIGHT-1": {"share": 2}}, "case: wallets[0].detectors.NIGHT-1: share is 2, expected 0 to 1"),
        ({"PACE-1": {"minutes": 1.5}}, "case: wallets[0].detectors.PACE-1: minutes is 1.5, expected a whole number "
         "from 1 to 1440"),
        ({"NIGHT-1": {"shares": 1}}, "case: wallets[0].detectors.NIGHT-1: shares is unknown, expected one of enabled, "
         "share"),
        ({"NIGHT-2": {}}, "case: wallets[0].detectors: unknown detector 'NIGHT-2': did you mean 'NIGHT-1'?"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told(settings: dict[str, Any], said: str) -> None:
    """With its place and what may be written."""
    assert problems(lambda: made(EXAMPLE, settings=settings)) == [said]


def test_a_setting_without_effect_is_a_warning() -> None:
    """Somebody may believe that it does something."""
    (warning,) = made(EXAMPLE, settings={"GRANT-1": {"enabled": True}}).warnings
    assert str(warning).endswith("GRANT-1 has no effect: GRANT-1 judges only wallets of role treasury")


def test_a_configuration_names_its_files(tmp_path: Path) -> None:
    """Relative to it; shown to people; a file that is missing has the place that names it."""
    file(tmp_path, EXAMPLE.read_text(), "own.py")
    wallets = [{"id": "w", "role": "hot", "addresses": [f"ethereum:{HOT}"], "detectors": {"PACE-1": {"minutes": 5}}}]
    config = config_from_mapping({"wallets": wallets, "detectors": "own.py"}, tmp_path, "case")
    assert config.public()["detectors"] == [str(tmp_path / "own.py")]
    assert "detector NIGHT-1 of your own: Large payment at night" in config.summary()
    found = problems(lambda: config_from_mapping({"wallets": wallets, "detectors": ["no.py"]}, tmp_path, "case"))
    assert found[0] == "case: detectors[0]: the detectors cannot be read: No such file or directory"


# -- state ------------------------------------------------------------------------------------------------------------


def test_memory_is_undone_and_stored_with_its_block() -> None:
    """Back and forth gives the same; a monitor that starts from what was stored finds the same."""
    chain = Chain(EXAMPLE)
    targets = [f"0x{n:040x}" for n in range(100, 110)]
    for n, to in enumerate(targets[:5]):
        chain.block(NOON + n, (HOT, to, 1))
    before = chain.engine.dump()
    assert any(key == f"u\x1fw\x1f{ETH}\x1fPACE-1".encode() for key, _ in before)
    for _ in range(3):
        chain.back()
    for n, to in enumerate(targets[2:5], 2):
        chain.block(NOON + n, (HOT, to, 1))
    assert chain.engine.dump() == before
    restarted = Chain(EXAMPLE)
    restarted.engine.load(before)
    restarted.number = chain.number
    assert restarted.engine.dump() == before
    rest = [(HOT, to, 1) for to in targets[5:]]
    assert chain.block(NOON + 9, *rest) == restarted.block(NOON + 9, *rest) != []
    assert chain.engine.dump() == restarted.engine.dump()


def test_memory_of_a_detector_that_is_gone_goes_too() -> None:
    """Stored notes of a detector that nobody configures any more leave the store with the next block."""
    chain = Chain(EXAMPLE)
    chain.block(NOON, (HOT, CUSTOMER, 1))
    later = Chain()
    later.engine.load(chain.engine.dump())
    later.number = 1
    key = f"u\x1fw\x1f{ETH}\x1fPACE-1".encode()
    assert key in dict(chain.engine.dump()) and key not in dict(later.engine.dump())
    folded = later.engine.connect(Block(BlockRef(ETH, 2, "b2"), "", NOON + 1))
    assert (key, None) in folded.state


def test_what_a_function_holds_on_to_is_not_memory() -> None:
    """A detector gets its memory as a store would give it back: changing an old one later changes nothing."""
    held: list[dict[str, Any]] = []

    @detector("HOLD-1", "Holds on", catches="Nothing.")
    def hold(flow: Any, view: View) -> None:
        view.memory["n"] = view.memory.get("n", 0) + 1
        held.append(view.memory)

    chain = Chain(hold)
    chain.block(NOON, (HOT, CUSTOMER, 1))
    held[0]["n"] = 100
    chain.block(NOON, (HOT, CUSTOMER, 1))
    assert held[1]["n"] == 2


# -- what goes wrong --------------------------------------------------------------------------------------------------


def failing(tmp_path: Path, body: str) -> Path:
    return file(tmp_path, f'{HEAD}\n@detector("MINE-1", "Mine", catches="All.")\ndef mine(flow, view):\n    {body}\n')


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ("return 1 / 0", 5, "detector MINE-1 failed in `return 1 / 0`: ZeroDivisionError: division by zero "
         "(transaction t1-0)"),
        ("raise SystemExit(3)", 5, "detector MINE-1 failed in `raise SystemExit(3)`: SystemExit: 3 (transaction t1-0)"),
        ("import json; json.loads('{')", 5, "detector MINE-1 failed in `import json; json.loads('{')`: JSONDecodeEr"),
        ("return view.number('x')", 5, "detector MINE-1 failed in `return view.number('x')`: KeyError: 'x'"),
        ("return 'high'", 3, "MINE-1 gave 'high', expected None, (severity, text) or (severity, text, evidence)"),
        ("return 'hihg', 'text'", 3, "MINE-1 gave severity 'hihg', expected one of info, low, medium, high, critical"),
        ("return 3, 'text'", 3, "MINE-1 gave severity 3, expected one of info"),
        ("return 'high', ''", 3, "MINE-1 gave the text '', expected a sentence for people"),
        ("return 'high', 'text', {'x': {1}}", 3, "MINE-1 gave evidence that is no JSON: "),
        ("return 'high', 'text', {'x': float('nan')}", 3, "MINE-1 gave evidence that is no JSON: "),
        (
            "from fractions import Fraction\n    return 'high', 'text', {'x': Fraction(1, 2)}",
            3,
            "MINE-1 gave evidence that is no JSON: Object of type Fraction is not JSON serializable; write float(...)",
        ),
        ("return 'high', 'text', [1]", 3, "MINE-1 gave evidence that is no JSON: it is [1], expected a mapping"),
        ("view.memory['x'] = {1}", 3, "MINE-1 keeps in view.memory what is no JSON: "),
        ("view.memory['x'] = (1, 2)", 3, "MINE-1 keeps in view.memory what a store would give back otherwise"),
        ("view.memory[5] = 1", 3, "MINE-1 keeps in view.memory what a store would give back otherwise"),
        ("view.memory = [1]", 3, "MINE-1 made view.memory [1], expected a dict"),
        (f"view.memory['x'] = 'y' * {MOST_MEMORY}", 3, "MINE-1 keeps 65,544 bytes in view.memory, at most 65,536"),
    ],
)  # fmt: skip
def test_a_detector_that_fails_stops_a_backtest(tmp_path: Path, body: str, line: int, said: str) -> None:
    """DetectorError with the file and line of the user's own code, never of ours; code 2."""
    path = failing(tmp_path, body)
    with pytest.raises(DetectorError) as caught:
        Chain(path).block(NOON, (HOT, CUSTOMER, 1))
    assert str(caught.value).startswith(f"{path}:{line}: {said}") and caught.value.exit_code == 2


def test_a_live_monitor_goes_on_and_says_so(tmp_path: Path) -> None:
    """What fails says and remembers nothing of that flow; others go on; the trouble names file and line."""
    body = "view.memory['n'] = view.memory.get('n', 0) + 1; assert flow.value != 7; return 'low', str(view.memory['n'])"
    path = failing(tmp_path, body)
    failures = Failures()
    chain = Chain(path, EXAMPLE, on_failure=failures.heard)
    found = chain.block(MIDNIGHT, (HOT, CUSTOMER, 1), (HOT, CUSTOMER, 7), (HOT, CUSTOMER, 100 * ETHER))
    assert [(f.detector, f.summary) for f in found] == [
        ("MINE-1", "1"), ("MINE-1", "2"), ("NIGHT-1", "100 ETH left at night")
    ]  # fmt: skip
    (trouble,) = failures.troubles(0.0)
    assert trouble.key == "detector/MINE-1" and f"{path}:5: detector MINE-1 failed" in trouble.why


def wrong(decorated: str, definition: str = "def f(flow, view): pass") -> str:
    return f"{HEAD}@detector({decorated})\n{definition}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", ":1: it is no Python: invalid syntax"),
        ("\nimport nothing_like_it\n", ":2: it does not run: ModuleNotFoundError: No module named 'nothing_like_it': "
         "install it beside heistwatch"),
        ("x = 1\n", ": no detector is defined: put @detector(ID, TITLE) of monitor.own above a function of (flow, "
         "view)"),
        ("\n\nexit(3)\n", ":3: it does not run: SystemExit: 3"),
        (wrong('"hw-3", "Mine", catches="All."'), ":2: the id 'hw-3' is taken by a built-in detector: choose another "
         "one"),
        (wrong('"A 1", "Mine", catches="All."'), ":2: detector 'A 1': the id must be letters, digits and hyphens, at "
         "most 32, such as NIGHT-1"),
        (wrong('"A-1", "Mine"'), ":2: detector 'A-1': catches is missing: say it, or give the function a docstring"),
        (wrong('"A-1", "Mine", catches="All."', "def f(flow): pass"), ":2: detector 'A-1': f must take two arguments, "
         "(flow, view)"),
        (wrong('"A-1", "Mine", catches="All."', "async def f(flow, view): pass"), ":2: detector 'A-1': the function "
         "must return what it says: no async, no yield"),
        (wrong('"A-1", "Mine", catches="All.", sees="flow"'), ":2: detector 'A-1': sees is 'flow': did you mean "
         "'flows'?"),
        (wrong('"A-1", "Mine", catches="All.", roles="htt"'), ":2: detector 'A-1': role 'htt' is unknown: did you mean "
         "'hot'?"),
        (wrong('"A-1", "Mine", catches="All.", parameters={"x": (5, 0, 1, "y")}'), ":2: detector 'A-1': parameter 'x': "
         "the default 5 must lie between 0 and 1"),
        (wrong('"A-1", "Mine", catches="All.", parameters={"x": 5}'), ":2: detector 'A-1': parameter 'x': expected "
         "(default, lowest, highest, what it is)"),
        (wrong('"A-1", "Mine", "more"'), ":2: it does not run: TypeError: detector() takes 2 positional arguments but "
         "3 were given"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, said: str) -> None:
    """One line: file, line, what is wrong and what to do."""
    path = file(tmp_path, text)
    assert problems(lambda: load_detectors(path)) == [f"{path}{said}"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a folder, no text."""
    (tmp_path / "raw.py").write_bytes(b"\xff\xfe")
    said = [problems(lambda name=name: load_detectors(tmp_path / name))[0] for name in ("no.py", "", "raw.py")]
    assert [text.partition(": ")[2] for text in said] == [
        "the detectors cannot be read: No such file or directory", "the detectors cannot be read: Is a directory",
        "the detectors cannot be read: it is no UTF-8 text",
    ]  # fmt: skip


def test_two_files_with_one_id(tmp_path: Path) -> None:
    """Both places are named; the same file twice is one."""
    text = f'{HEAD}@detector("A-1", "Mine", catches="All.")\ndef f(flow, view): pass\n'
    one, two = file(tmp_path, text, "one.py"), file(tmp_path, text.replace("A-1", "a-1"), "two.py")
    assert problems(lambda: made(one, two)) == [
        f"{two}:2: the id 'a-1' is taken by the detector at {one}:2: choose another one"
    ]
    assert [each.id for each in made(one, one).own[0].load()] == ["A-1"] and len(made(one, one).own) == 1


# -- history ----------------------------------------------------------------------------------------------------------


def table(folder: Path, *rows: tuple[int, str, str, int, str]) -> str:
    """A native table of (seconds, from, to, base units, asset), each a transaction that its sender started."""
    head = "chain,block_number,block_timestamp,transaction_hash,transaction_index,transfer_index,from_address,"
    lines = [
        f"ethereum,{n + 1},{NOON + at},0x{n:064x},0,0,{sender},{to},{asset},{value},"
        f"{'native' if asset == 'native' else 'token'},{sender if asset == 'native' else VAULT}"
        for n, (at, sender, to, value, asset) in enumerate(rows)
    ]
    path = folder / "history.csv"
    path.write_text("\n".join([f"{head}to_address,asset,value,kind,tx_from", *lines, ""]))
    return str(path)


def test_history_is_judged_as_live_blocks_are(tmp_path: Path) -> None:
    """The same findings from a table as from blocks."""
    rows = [(60 * n, HOT, f"0x{n + 100:040x}", 1, "native") for n in range(12)]
    rows.insert(0, (-60, CUSTOMER, HOT, 1000 * ETHER, "native"))
    report = run_backtest(made(EXAMPLE), [table(tmp_path, *rows)])
    found = [f for incident in report["incidents"] for f in incident["findings"]]
    live = Chain(EXAMPLE, held=None)
    told = [f for at, *move, _ in rows for f in live.block(NOON + at, (move[0], move[1], move[2]))]
    assert [f["summary"] for f in found] == [f.summary for f in told] and len(told) == 5
    assert report["incidents"][0]["explanation"][0].startswith("Many addresses in a short time: 8 addresses were paid")


def test_built_in_detectors_say_the_same_beside_it(tmp_path: Path) -> None:
    """A look-alike that shows itself by a forged token is remembered, whoever else judges the wallet."""
    real, fake = f"0xabc{'0' * 33}1234", f"0xabc{'5' * 33}1234"
    rows = [(0, CUSTOMER, HOT, 1000 * ETHER, "native"), (60, HOT, real, ETHER, "native"),
            (120, HOT, fake, 5, "0x" + "77" * 20), (180, HOT, fake, ETHER, "native")]  # fmt: skip
    path = table(tmp_path, *rows)

    @detector("SHY-1", "Says nothing", catches="Nothing.", sees="flows")
    def shy(flow: Any, view: View) -> None:
        view.memory["seen"] = flow.value

    alone, beside = (run_backtest(made(*own, role="personal"), [path]) for own in ((), (shy,)))
    assert alone["incidents"] == beside["incidents"]
    assert "it showed itself by a worthless or forged token transfer" in alone["incidents"][0]["findings"][0]["summary"]


def test_a_detector_that_fails_on_history_stops_it(tmp_path: Path) -> None:
    """Never silently skipped."""
    path = failing(tmp_path, "return 1 / 0")
    with pytest.raises(DetectorError, match=r"mine.py:5: detector MINE-1 failed in `return 1 / 0`"):
        run_backtest(made(path), [table(tmp_path, (0, HOT, CUSTOMER, 5, "native"))])


# -- other processes --------------------------------------------------------------------------------------------------


def test_what_was_read_travels(tmp_path: Path) -> None:
    """A configuration may be pickled: whoever gets it runs the text that was read, whatever became of the file."""
    path = failing(tmp_path, "return 'low', 'first'")
    config = made(path)
    path.write_text("broken(")
    copy: Config = pickle.loads(pickle.dumps(config))
    assert copy.own == config.own and isinstance(copy.own[0], OwnFile) and "broken" not in copy.own[0].source
    ref = BlockRef(ETH, 1, "b1")
    paid = Transfer(ref, Tx("t", 0, HOT), 0, TransferKind.NATIVE, NATIVE, (HOT,), CUSTOMER, 5, (5,))
    folded = make_engine(copy).connect(Block(ref, "", NOON, (paid,)))
    assert [f.summary for f in folded.findings] == ["first"]


def test_other_processes_find_the_same(tmp_path: Path) -> None:
    """The engine that runs worker processes gives the report of the local one, and the same error at the same place."""
    rows = [(60 * n, HOT, f"0x{n + 100:040x}", 1, "native") for n in range(40)]
    data = table(tmp_path, (-60, CUSTOMER, HOT, 1000 * ETHER, "native"), *rows)
    local, other = ({**monitor.backtest(made(EXAMPLE), data, engine=engine, workers=2)} for engine in ENGINES)
    assert local.pop("speed") and other.pop("speed") and local == other
    assert "PACE-1" in {f["detector"] for incident in local["incidents"] for f in incident["findings"]}
    path, said = failing(tmp_path, "1 / (7 - flow.value)"), []
    last = table(tmp_path, *rows, (9999, HOT, CUSTOMER, 7, "native"))
    for engine in ENGINES:
        with pytest.raises(DetectorError) as caught:
            monitor.backtest(made(path), last, engine=engine, workers=2)
        said.append(str(caught.value))
    assert said[0] == said[1] and said[0].startswith(f"{path}:5: detector MINE-1 failed in `1 / (7")


def test_functions_stay_in_their_process() -> None:
    """A function cannot travel: that is said before any work."""

    @detector("HERE-1", "Here alone", catches="Nothing.")
    def here(flow: Any, view: View) -> None:
        return None

    with pytest.raises(ConfigError, match="engine processes needs detectors in files"):
        monitor.backtest(made(), "none.csv", engine="processes", detectors=here)


def test_another_text_is_another_piece_of_work(tmp_path: Path) -> None:
    """What is kept of a backtest is kept under a name that the text of a detector is part of."""
    path = failing(tmp_path, "return None")
    one = repr(made(path))
    path.write_text(path.read_text() + "# changed\n")
    assert repr(made(path)) != one and "changed" not in repr(made(path))


def test_a_file_runs_once_a_process(tmp_path: Path) -> None:
    """However often engines are made of it."""
    count = tmp_path / "count"
    path = failing(tmp_path, "return None")
    path.write_text(f"{path.read_text()}\nwith open({str(count)!r}, 'a') as out: print('ran', file=out)\n")
    config = made(path)
    make_engine(config), make_engine(pickle.loads(pickle.dumps(config)))
    assert count.read_text() == "ran\n"


def test_cards_of_the_example() -> None:
    """As complete as those of built-in detectors, and JSON."""
    for each in load_detectors(EXAMPLE):
        assert isinstance(each, OwnDetector) and each.where.startswith(f"{EXAMPLE}:")
        assert each.card.title and each.card.catches.endswith(".") and json.dumps(each.card.title)
        assert all(p.low <= p.default <= p.high and p.fields == () for p in each.card.parameters)
