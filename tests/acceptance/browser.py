"""Pages in a headless browser of this machine; set HEISTWATCH_CHROMIUM to its binary.

Its driver runs an event loop, so it has a thread of its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["Page", "browsing"]


def _missing(what: str) -> None:
    """A skip, or a failure where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


class Page:
    """A page in a context of its own; ``wrong`` is what went wrong or was asked for."""

    def __init__(self, browser: Any, run: Callable[..., Any], how: dict[str, Any]) -> None:
        self.wrong: list[str] = []
        self._run = run
        self._page = run(self._open, browser, how)

    def _open(self, browser: Any, how: dict[str, Any]) -> Any:
        page = browser.new_context(**how).new_page()
        page.on("console", lambda message: self.wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", lambda request: self.wrong.append(f"asked: {request.url}"))
        return page

    def goto(self, url: str) -> None:
        """Open an address; that one request is no fault."""
        self._run(self._page.goto, url)
        self.wrong.remove(f"asked: {url}")

    def send(self, button: str) -> None:
        """Send the form, to the same address; that one request is no fault."""
        url = self._page.url
        self._run(self._page.click, button)
        self.wrong.remove(f"asked: {url}")

    def ask(self, script: str) -> Any:
        """The value of an expression."""
        return self._run(self._page.evaluate, script)

    def click(self, selector: str) -> None:
        """Click on an element."""
        self._run(self._page.click, selector)

    def fill(self, selector: str, text: str) -> None:
        """Write into a field."""
        self._run(self._page.fill, selector, text)

    def press(self, key: str) -> None:
        """Press a key."""
        self._run(self._page.keyboard.press, key)

    def text(self, selector: str = "body") -> str:
        """What is seen of an element."""
        return str(self._run(self._page.inner_text, selector))

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return len(self._run(self._page.query_selector_all, selector))

    def box(self, selector: str) -> dict[str, float]:
        """Where an element stands, in CSS pixels."""
        found: dict[str, float] = self._run(lambda: self._page.query_selector(selector).bounding_box())
        return found

    def picture(self) -> bytes:
        """The window as PNG."""
        png: bytes = self._run(self._page.screenshot)
        return png

    def print(self) -> None:
        """As on paper."""
        self._run(lambda: self._page.emulate_media(media="print"))

    def close(self) -> None:
        """Close page and context."""
        self._run(self._page.context.close)


@contextmanager
def browsing() -> Iterator[Callable[..., Page]]:
    """Opens pages, in contexts of the given options of the browser."""
    binary = os.environ.get("HEISTWATCH_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        _missing("chromium (a browser; set HEISTWATCH_CHROMIUM to its binary) is not available")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright (a driver of browsers) is not installed")
    with ThreadPoolExecutor(1) as thread:

        def run(work: Callable[..., Any], *arguments: Any) -> Any:
            return thread.submit(work, *arguments).result()

        manager = sync_playwright()
        driver = run(manager.__enter__)
        try:
            browser = run(lambda: driver.chromium.launch(executable_path=binary, args=["--no-sandbox"]))
            yield lambda **how: Page(browser, run, how)
            run(browser.close)
        finally:
            run(manager.__exit__)
