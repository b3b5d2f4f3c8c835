"""Alerts as lines of a file, one JSON object each (NDJSON, https://github.com/ndjson/ndjson-spec)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alerts.apart import Apart, Busy
from alerts.base import ChannelTraits, Receipt
from alerts.options import Options
from alerts.template import Templates
from alerts.wire import wire
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["FileChannel"]

WRITE_SECONDS = 10.0  # a disk that takes longer hangs, a network share say


class FileChannel(ChannelTraits):
    """Appends each alert to a file, as one line of JSON with the fields of a webhook, and waits for the disk.

    Options
    -------
    path : the file; made where it is missing, readable for its owner alone (mode 0600), in a folder that exists
    template : ``{title, body}``: own words for these two

    A file that was moved away by log rotation is noticed before each line, and a new one begun. A line that a kill or
    a full disk cut off never joins the next: what cannot be taken back ends with a line break of its own. An alert is
    in the file twice only where a kill fell between its line and the record of it; then both lines are the same bytes.
    A full disk, a missing folder and every other failure are tried again.
    """

    type = "file"
    templated = True
    machine = True
    concurrency = 1  # lines are written one after the other

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, ("path", "template"))
        path = given.text("path", required=True)
        if "\0" in path:
            given.wrong("path holds a character that no file name may have")
        own = given.mapping("template")
        given.check()
        self._own = Templates(own, str) if own else None
        self._path = Path(path)
        self._file = -1
        self._written = ""  # id of the alert written last
        self._turn = asyncio.Lock()
        self._apart = Apart("alerts file")

    def __repr__(self) -> str:
        return f"FileChannel(name={self._path.name!r})"

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The line, its end included; in ASCII, so that no reader takes a character of it for a line break."""
        return json.dumps(wire(alert, queued_at, self._own), sort_keys=True, separators=(",", ":")).encode() + b"\n"

    def preview(self, body: bytes) -> str:
        """The line."""
        return body.decode().rstrip("\n")

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """Append the line; accepted once the disk has it."""
        async with self._turn:
            if row.alert_id == self._written:  # by an attempt that was given up, or whose record failed
                return Receipt(Outcome.ACCEPTED, Reason.OK, detail="it is in the file already")
            try:
                await self._apart.run(lambda: self._append(row.alert_id, row.body), WRITE_SECONDS)
            except Busy:
                return Receipt(Outcome.RETRY, Reason.TIMEOUT, detail="the file is still blocked")
            except TimeoutError:
                return Receipt(Outcome.RETRY, Reason.TIMEOUT, detail=f"not written within {WRITE_SECONDS:g} s")
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else type(error).__name__
                return Receipt(Outcome.RETRY, Reason.INTERNAL, detail=f"the file could not be written: {why}")
            return Receipt(Outcome.ACCEPTED, Reason.OK)

    async def probe(self, now: float) -> Receipt:
        """Whether it may be written, or made."""
        place = self._path if self._path.exists() else self._path.parent
        if os.access(place, os.W_OK):
            return Receipt(Outcome.ACCEPTED, Reason.OK, detail=f"{self._path.name} can be written")
        why = "may not be written" if place.exists() else "does not exist"
        return Receipt(Outcome.RETRY, Reason.INTERNAL, detail=f"{place.name or place} {why}")

    async def aclose(self) -> None:
        """Close the file; the next `send` opens it anew."""
        async with self._turn:
            with contextlib.suppress(Busy):  # a thread that hangs in it keeps it: its number must not be used again
                await self._apart.run(self._close, WRITE_SECONDS)

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _append(self, alert_id: str, line: bytes) -> None:
        self._open()
        before = os.fstat(self._file).st_size
        if before and os.pread(self._file, 1, before - 1) != b"\n":
            line = b"\n" + line
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError:
            self._take_back(before, len(line) - len(left))
            raise
        self._written = alert_id

    def _open(self) -> None:
        """The file that has the name now: another one after a rotation."""
        if self._file >= 0:
            try:
                named, held = self._path.stat(), os.fstat(self._file)
                if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino):
                    return
            except FileNotFoundError:
                pass
            self._close()
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK  # never wait for the other end of a pipe
        try:
            opened = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            made = True
        except FileExistsError:
            opened = os.open(self._path, flags)
            made = False
        try:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise OSError("not a regular file")
            if made:
                _sync_folder(self._path.parent)
        except OSError:
            os.close(opened)
            raise
        self._file = opened

    def _take_back(self, before: int, written: int) -> None:
        """Remove a line that was not written whole, if nobody else wrote meanwhile."""
        try:
            if os.fstat(self._file).st_size == before + written:
                os.ftruncate(self._file, before)
        except OSError:  # then the next line ends it
            pass

    def _close(self) -> None:
        held, self._file = self._file, -1
        if held >= 0:
            os.close(held)


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk only when its folder is."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
