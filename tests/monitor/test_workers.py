"""Workers of a backtest: the same results from all engines, lost workers, errors, and no process left behind."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import polars as pl
import pytest

from monitor.backtesting.workers.base import THREADS, Workers, thread_limits, usable_cores
from monitor.backtesting.workers.book import ATTEMPTS, TaskBook
from monitor.backtesting.workers.make import workers
from monitor.backtesting.workers.processes import ProcessWorkers
from monitor.errors import ConfigError, Problem, WorkerLost

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds for what takes a moment, on a loaded machine


@dataclass(frozen=True)
class Part:
    """A task: a number, and a folder in which work leaves signs."""

    number: int
    folder: Path

    @property
    def name(self) -> str:
        return f"part-{self.number}.parquet"


def nothing() -> None:
    pass


def squared(part: Part) -> pl.DataFrame:
    return pl.DataFrame({"number": [part.number], "square": [part.number**2]})


def threads(part: Part) -> tuple[int, str]:
    return pl.thread_pool_size(), os.environ["NUMBA_NUM_THREADS"]


def wrong_from_two(part: Part) -> int:
    if part.number >= 2:
        problems = [Problem(f"no column of {part.number}", "a.csv:7"), Problem("no row", "b.csv:9")]
        raise ConfigError(problems)
    return part.number


class Unpicklable(Exception):
    """An error that cannot be made again from its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def odd_error(part: Part) -> int:
    raise Unpicklable(1, 2)


def deadly(part: Part) -> int:
    """Ends its own process, as the system does where memory runs out."""
    if part.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return part.number


def once_deadly(part: Part) -> int:
    """The first attempt at some parts tells its process id and waits to be killed."""
    begun = part.folder / f"{part.number}.begun"
    if part.number % 2 and not begun.exists():
        fresh = begun.with_suffix(".new")
        fresh.write_text(str(os.getpid()))
        fresh.rename(begun)
        (part.folder / "asked").open("wb").write(b"%d\n" % os.getpid())
        signal.pause()
    return part.number * 10


def endless(part: Part) -> int:
    (part.folder / "asked").open("wb").write(b"%d\n" % os.getpid())
    signal.pause()
    return 0


@pytest.fixture(scope="module")
def crews() -> Iterator[Callable[[str], Workers]]:
    """Two workers of an engine, which the tests of this module share: Ray takes seconds to start."""
    made: dict[str, Workers] = {}

    def crew(engine: str) -> Workers:
        if engine not in made:
            made[engine] = workers(engine, 2)
        return made[engine]

    with pytest.MonkeyPatch.context() as patch:
        for name in THREADS:
            patch.delenv(name, raising=False)
        yield crew
        for each in made.values():
            each.close()


def parts(count: int, folder: Path = Path()) -> list[Part]:
    return [Part(number, folder) for number in range(count)]


ENGINES = pytest.mark.parametrize("engine", ["local", "processes", "ray"])
SEVERAL = pytest.mark.parametrize("engine", ["processes", "ray"])


@ENGINES
def test_results_are_in_the_order_of_the_tasks(engine: str, crews: Callable[[str], Workers]) -> None:
    """Whatever order they end in; ``told`` hears each."""
    told: list[int] = []
    found = crews(engine).run(squared, parts(9), told.append)
    assert [frame.row(0) for frame in found] == [(n, n * n) for n in range(9)]
    assert told == list(range(1, 10))
    assert crews(engine).run(squared, []) == []


@ENGINES
def test_the_first_error_counts(engine: str, crews: Callable[[str], Workers]) -> None:
    """Of several, that of the first task, with its own type and all it carries; the workers are of use afterwards."""
    with pytest.raises(ConfigError) as caught:
        crews(engine).run(wrong_from_two, parts(8))
    assert type(caught.value) is ConfigError
    assert caught.value.problems == (Problem("no column of 2", "a.csv:7"), Problem("no row", "b.csv:9"))
    assert crews(engine).run(wrong_from_two, parts(2)) == [0, 1]


@SEVERAL
def test_an_error_that_cannot_be_carried_is_told(engine: str, crews: Callable[[str], Workers]) -> None:
    with pytest.raises(Exception, match="1 and 2"):
        crews(engine).run(odd_error, parts(1))


@SEVERAL
def test_a_part_that_ends_its_workers_is_named(engine: str, crews: Callable[[str], Workers]) -> None:
    """Three times, then it is an error; parts before it are done."""
    told: list[int] = []
    with pytest.raises(WorkerLost, match=rf"part-1\.parquet: {ATTEMPTS} workers ended") as caught:
        crews(engine).run(deadly, parts(3), told.append)
    assert caught.value.exit_code == 3
    assert told[:1] == [1]


@SEVERAL
def test_a_killed_worker_costs_nothing_but_time(engine: str, crews: Callable[[str], Workers], tmp_path: Path) -> None:
    """Each of four workers is killed in the midst of its part: the parts are done by others."""
    with Asked(tmp_path) as asked, ThreadPoolExecutor(1) as beside:
        killed = beside.submit(lambda: [asked.kill() for _ in range(4)])
        found = crews(engine).run(once_deadly, parts(8, tmp_path))
        assert found == [number * 10 for number in range(8)]
        assert len(set(killed.result())) == 4


@SEVERAL
def test_cores_are_shared(engine: str, crews: Callable[[str], Workers]) -> None:
    """Each worker's libraries start as many threads as its share of the cores."""
    share = max(1, usable_cores() // 2)
    assert set(crews(engine).run(threads, parts(4))) == {(share, str(share))}
    assert "POLARS_MAX_THREADS" not in os.environ


def test_what_the_user_set_of_threads_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_MAX_THREADS", "7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    limits = thread_limits(1000)
    assert "POLARS_MAX_THREADS" not in limits and limits["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("engine", ["processes", "ray"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_parent(engine: str, number: signal.Signals, tmp_path: Path) -> None:
    """Killed or interrupted in the midst of parts, a program leaves no worker, and Ctrl-C no folder either."""
    code = (
        "from pathlib import Path\n"
        "from tests.monitor.test_workers import endless, parts\n"
        "from monitor.backtesting.workers.make import workers\n"
        f"with workers({engine!r}, 2) as crew: crew.run(endless, parts(4, Path({str(tmp_path)!r})))\n"
    )
    short = tempfile.mkdtemp(prefix="hw-", dir="/tmp")
    try:
        with Asked(tmp_path) as asked:
            home = {"HOME": short, "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))}
            program = subprocess.Popen(
                [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True,
                env={**os.environ, "TMPDIR": short, **home},
            )  # fmt: skip
            with program:
                busy = {asked.pid(), asked.pid()}
                started = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in descendants(program.pid)}
                assert busy <= set(started)
                handles = {os.pidfd_open(pid): line for pid, line in started.items()}
                program.send_signal(number)
                said = program.stderr.read() if program.stderr else ""
            assert program.returncode == -number, said
            for handle, line in handles.items():
                if number is signal.SIGKILL and "Agent" in line:  # Ray's own: a minute after all the others
                    with suppress(ProcessLookupError):
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                assert select.select([handle], [], [], PATIENCE)[0], f"a process was left: {line}"
                os.close(handle)
        if number is signal.SIGINT:
            assert said.count("Traceback") == 1 and "KeyboardInterrupt" in said
            assert list(Path(short).iterdir()) == []
    finally:
        shutil.rmtree(short, ignore_errors=True)


def test_close_ends_the_workers() -> None:
    """Workers stay for the next run, and end by `close`; more than there are tasks are not started."""
    with ProcessWorkers(3) as crew:
        crew.run(squared, parts(2))
        first = crew.pids
        assert 1 <= len(first) <= 2
        crew.run(squared, parts(2))
        assert set(first) <= set(crew.pids)
        crew.warm(nothing)
        assert len(crew.pids) == 3
        handles = [os.pidfd_open(pid) for pid in crew.pids]
    for handle in handles:
        assert select.select([handle], [], [], 0)[0]
        os.close(handle)


def test_idle_workers_may_be_killed() -> None:
    """Four that were killed between two runs are replaced, and are no attempts at a task."""
    with ProcessWorkers(4) as crew:
        crew.warm(nothing)
        before = crew.pids
        for pid in before:
            handle = os.pidfd_open(pid)
            os.kill(pid, signal.SIGKILL)
            assert select.select([handle], [], [], PATIENCE)[0]
            os.close(handle)
        assert len(crew.run(squared, parts(2))) == 2
        assert not set(before) & set(crew.pids)


def test_ray_listens_on_this_machine_alone(crews: Callable[[str], Workers]) -> None:
    """All that it started listens on 127.0.0.1; the handler of SIGTERM stays ours."""
    before = signal.getsignal(signal.SIGTERM)
    assert crews("ray").run(squared, parts(1))
    assert signal.getsignal(signal.SIGTERM) == before
    places = listening([os.getpid(), *descendants(os.getpid())])
    assert len(places) >= 4  # the cluster's own servers, those of tests apart
    assert {str(place) for place in places} == {"127.0.0.1"}


def test_wrong_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, an error says what to install; a wrong engine or number of workers is told."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install heistwatch\[ray\]"):
        workers("ray")
    with pytest.raises(ConfigError, match="expected one of local, processes, ray"):
        workers("spark")
    with pytest.raises(ConfigError, match="at least 1"):
        workers("processes", 0)
    assert workers("local", 4).count == 1
    assert workers("processes").count == usable_cores()


def test_a_book_of_tasks() -> None:
    """A task before the one that failed is finished; one after it is not given out."""
    book: TaskBook[str] = TaskBook("abcd")
    assert [book.take(), book.take(), book.take()] == [0, 1, 2]
    book.failed(2, ValueError("second"))
    book.failed(1, KeyError("first"))
    assert book.take() is None and not book.is_over
    book.lost(0, "was lost")
    assert book.take() == 0
    book.done(0, "A")
    assert book.is_over
    with pytest.raises(KeyError, match="first"):
        book.results()


class Asked:
    """A named pipe by which workers tell their process ids."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "asked"
        os.mkfifo(self._path)

    def __enter__(self) -> Asked:
        self._descriptor = os.open(self._path, os.O_RDWR)
        return self

    def __exit__(self, *about: object) -> None:
        os.close(self._descriptor)

    def pid(self) -> int:
        """The next worker that waits to be killed."""
        text = b""
        while not text.endswith(b"\n"):
            assert select.select([self._descriptor], [], [], PATIENCE)[0], "no worker began"
            text += os.read(self._descriptor, 1)
        return int(text)

    def kill(self) -> int:
        """Kill the next worker that waits for it."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        return pid


def descendants(pid: int) -> set[int]:
    """Process ids of all that a process started, and what those started."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    found, fresh = set[int](), {pid}
    while fresh := {child for child, parent in parents.items() if parent in fresh} - found:
        found |= fresh
    return found


def listening(pids: Iterable[int]) -> list[IPv4Address | IPv6Address]:
    """Where processes listen by TCP."""
    inodes = set[str]()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(str(link.readlink()))
            except FileNotFoundError:
                continue
    found: list[IPv4Address | IPv6Address] = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                words = bytes.fromhex(fields[1].partition(":")[0])
                raw = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                place = IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)
                found.append(getattr(place, "ipv4_mapped", None) or place)
    return found
