"""History on other machines: a real HTTP server with range requests, and a real object store."""

from __future__ import annotations

import bz2
import gzip
import http.client
import os
import pickle
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables import Reading, parse_source, read
from chains.tables.place import Url, clean
from chains.tables.source import expand
from monitor.errors import ConfigError

MOTO = Path(__file__).parents[3] / ".tools/moto/bin/moto_server"
ALICE = "0x" + "a" * 40
SECRET = "CANARY-files-51c2"


@dataclass
class Files:
    """An HTTP server on loopback. ``files`` by path, ``asked`` has path, query and range."""

    port: int = 0
    ranges: bool = True
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    refuses: int = 0

    def url(self, name: str, login: str = "", query: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.port}/{name}{query}"


def _handler(files: Files) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            name, _, query = self.path.lstrip("/").partition("?")
            wanted = self.headers.get("Range")
            files.asked.append((name, query, wanted or ""))
            content = files.files.get(name)
            if content is None or files.refuses:
                self._answer(files.refuses or 404, b"", "")
            elif wanted is None or not files.ranges:
                self._answer(200, content, "")
            else:
                found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
                assert found
                first = int(found[1]) if found[1] else max(0, len(content) - int(found[2]))
                last = min(int(found[2]) if found[1] and found[2] else len(content), len(content) - 1)
                self._answer(206, content[first : last + 1], f"bytes {first}-{last}/{len(content)}")

        def _answer(self, status: int, body: bytes, part: str) -> None:
            self.send_response(status)
            if part:
                self.send_header("Content-Range", part)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", "Fri, 26 Jan 2018 00:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

    return Handler


@pytest.fixture
def files() -> Iterator[Files]:
    """The HTTP server."""
    made = Files()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def bucket() -> Iterator[Callable[[str, bytes], None]]:
    """An object store with the bucket ``history``: put an object. Its address is in the environment."""
    if not MOTO.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("moto is not in .tools/moto")
        pytest.skip("moto is not in .tools/moto")
    process = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        said = b""
        while not (found := re.search(rb"Running on http://127\.0\.0\.1:(\d+)", said)):
            line = process.stderr.readline()
            assert line, said.decode()
            said += line
        drain = threading.Thread(target=process.stderr.read)
        drain.start()
        port = int(found[1])

        def put(name: str, content: bytes = b"") -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("PUT", f"/history{name}", content)
            assert connection.getresponse().status == 200
            connection.close()

        put("")
        told = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            for name, value in told.items():
                patch.setenv(name, value)
            yield put
    finally:
        process.terminate()
        process.wait(20)
    drain.join()
    process.stderr.close()


@pytest.fixture
def read_all(infos: Any) -> Callable[..., Reading]:
    """Read sources as the command line gives them."""

    def run(*sources: str, **options: Any) -> Reading:
        watch = {"eip155:1": frozenset({ALICE})}
        return read([parse_source(source) for source in sources], chains=infos, watch=watch, **options)

    return run


def problems(work: Callable[..., Any], *arguments: str) -> list[str]:
    """What is said; no secret is in it, nor in what led to it."""
    with pytest.raises(ConfigError) as error:
        work(*arguments)
    seen: BaseException | None = error.value
    while seen is not None:
        assert SECRET not in str(seen) and SECRET not in repr(seen)
        seen = seen.__cause__
    return [str(problem) for problem in error.value.problems]


def test_every_form_through_http(
    tmp_path: Path, files: Files, read_all: Any, native_row: Any, write: Any
) -> None:
    """Parquet, CSV and JSON, plain and packed, give what the files on disk give; their names do not matter."""
    rows = [native_row(value="x" if n == 7 else str(n), transaction_hash=f"0x{n:x}") for n in range(1, 40)]
    for form in ("parquet", "csv", "ndjson", "json"):
        path = write(tmp_path / f"a.{form}", rows)
        whole = read_all(str(path))
        packings = {"": bytes, "gz": gzip.compress} if form != "parquet" else {"": bytes}
        for name, pack in packings.items():
            files.files[f"{form}-{name}"] = pack(path.read_bytes())
            got = read_all(files.url(f"{form}-{name}"))
            assert got.frame.equals(whole.frame) and got.bad_rows == whole.bad_rows == 1, (form, name)
            assert got.bad[0].path == files.url(f"{form}-{name}") and got.bad[0].row == whole.bad[0].row


def test_parquet_is_not_downloaded(files: Files, read_all: Any, native_row: Any, tmp_path: Path) -> None:
    """Of a large Parquet file the columns of rows that nobody watches stay where they are."""
    others = {"from_address": "0x" + "e" * 40}
    rows = [native_row(value=str(n), transaction_hash=f"0x{n:x}", **(others if n > 9 else {})) for n in range(1, 3000)]
    noise = pl.Series("noise", [os.urandom(10_000) for _ in rows])
    path = tmp_path / "a.parquet"
    pl.DataFrame(rows).with_columns(noise).write_parquet(path, row_group_size=500)
    files.files["a.parquet"] = path.read_bytes()
    found = read_all(files.url("a.parquet"))
    assert (found.rows, found.frame.height) == (2999, 9)
    read_bytes = 0
    for _, _, part in files.asked:
        first, last = part.removeprefix("bytes=").split("-")
        read_bytes += int(last) if not first else int(last) - int(first) + 1
    assert path.stat().st_size > 29_000_000 and read_bytes < 10_000_000


def test_secrets_of_urls(files: Files, read_all: Any, native_row: Any, write: Any, tmp_path: Path) -> None:
    """The query reaches the server and no text, neither rows, errors nor notes. A login is refused, not repeated."""
    rows = [native_row(), native_row(value="x")]
    files.files["a.csv"] = write(tmp_path / "a.csv", rows).read_bytes()
    url = files.url("a.csv", query=f"?X-Amz-Signature={SECRET}&key={SECRET}")
    [line] = problems(parse_source, files.url("a.csv", f"me:{SECRET}@"))
    assert line.startswith(files.url("a.csv")) and "are not sent" in line
    source = parse_source(url)
    assert SECRET not in repr(source) and isinstance(source.path, Url) and SECRET in source.path.address
    [(path, _)], _ = expand([source, source])
    again = pickle.loads(pickle.dumps(path))
    assert again == path and again.address == url and SECRET not in repr(again)
    found = read_all(url)
    assert found.rows == 2 and found.bad[0].path.startswith(files.url("a.csv")) and SECRET not in repr(found)
    assert SECRET.encode() not in pickle.dumps((found.bad, found.notes))
    assert all(SECRET in query for _, query, _ in files.asked)
    for fault in ("none.csv", "odd.csv", "empty.csv", "cut.csv"):
        files.files |= {"odd.csv": b"a,b\n1,2\n", "empty.csv": b" ", "cut.csv": gzip.compress(b"a,b\n" * 99)[:20]}
        said = problems(read_all, url.replace("a.csv", fault))
        assert len(said) == 1 and fault in said[0] and "\n" not in said[0]


def test_shown_urls() -> None:
    """Signed again it is the same file; another query is another file."""
    one = Url("https://me:pw@files.example:8443/a%20b.csv?id=1&X-Amz-Signature=11&X-Amz-Date=20260101")
    two = Url("https://me:pw@files.example:8443/a%20b.csv?id=1&X-Amz-Signature=22&X-Amz-Date=20260202")
    other = Url("https://files.example:8443/a%20b.csv?id=2&X-Amz-Signature=11&X-Amz-Date=20260101")
    assert one == two != other and one.startswith("https://files.example:8443/a%20b.csv?…")
    assert Url("https://files.example/a?sig=1&se=2") == "https://files.example/a?…"
    assert Url("abfss://box@store.dfs.core.windows.net/a") == "abfss://box@store.dfs.core.windows.net/a"
    assert clean("GET (https://u:p@h/a?b=c) and s3://b/k#f.") == "GET (https://h/a) and s3://b/k"


def test_servers_that_cannot(files: Files, read_all: Any) -> None:
    """No such file, no ranges, no permission, no server, a packing that must be on disk: said, with what to do."""
    files.files = {"a.csv": b"a,b\n1,2\n" * 9, "a.csv.bz2": bz2.compress(b"a,b\n1,2\n")}
    [line] = problems(read_all, files.url("none.csv"))
    assert line.startswith(files.url("none.csv")) and "404 Not Found" in line
    [line] = problems(read_all, files.url("a.csv.bz2"))
    assert "neither" in line
    files.ranges = False
    [line] = problems(read_all, files.url("a.csv"))
    assert "download it" in line
    files.ranges, files.refuses = True, 403
    [line] = problems(read_all, files.url("a.csv"))
    assert "403 Forbidden" in line
    said = problems(read_all, files.url("folder/"), files.url("*.csv"))
    assert len(said) == 2 and all("name each file" in line for line in said)


def test_object_store(
    bucket: Callable[..., None], tmp_path: Path, read_all: Any, native_row: Any, write: Any
) -> None:
    """Objects, globs and folders of a bucket; each object once, hidden ones and documents left out."""
    forms = {"day=1/a.parquet": 1, "day=1/b.csv": 2, "day=2/deep/c.ndjson": 3, "day=2/d.csv.gz": 4}
    for name, value in forms.items():
        path = write(tmp_path / Path(name).name.removesuffix(".gz"), [native_row(value=str(value))])
        content = path.read_bytes()
        bucket(f"/{name}", gzip.compress(content) if name.endswith(".gz") else content)
    for name in ("README.md", "_SUCCESS", "day=1/.part", "_tmp/x.csv"):
        bucket(f"/{name}", b"x")

    def values(*sources: str) -> list[str]:
        found = read_all(*(f"ethereum=s3://history/{source}" for source in sources))
        return sorted(found.frame["value"].to_list())

    assert values("day=1/a.parquet") == ["1"] and values("day=2/d.csv.gz") == ["4"]
    assert values("day=*/*.csv") == ["2"] and values("day=2/**/*") == ["3", "4"]
    assert values("day=1/*", "day=1/a.parquet") == ["1", "2"]
    assert values("") == ["1", "2", "3", "4"] and values("day=2/") == ["3", "4"]
    files, skipped = expand([parse_source("s3://history/")])
    assert [path for path, _ in files] == [f"s3://history/{name}" for name in sorted(forms)]
    assert "s3://history/README.md" in skipped


def test_object_store_faults(bucket: Callable[..., None], read_all: Any, native_row: Any) -> None:
    """What is not there is said at once for all sources, with the store's own reason and without the key."""
    bucket("/day=1/a.csv", ",".join(native_row()).encode() + b"\n")
    said = problems(read_all, "s3://history/none/", "s3://history/*.parquet", "s3://nobody/*")
    assert [line.split(": ", 1)[0] for line in said] == [
        "s3://history/none/", "s3://history/*.parquet", "s3://nobody/*"
    ]  # fmt: skip
    assert "no data file" in said[0] and "no object matches" in said[1] and "NoSuchBucket" in said[2]
    [line] = problems(read_all, "s3://history/none.csv")
    assert line.startswith("s3://history/none.csv") and "NoSuchKey" in line
