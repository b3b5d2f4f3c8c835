"""`heistwatch webhook`: the receiver's side of webhooks, to see what comes and whether it verifies."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from collections.abc import Sequence
from typing import Any

import click

from monitor.cli.common import find_config
from monitor.errors import ConfigError

__all__ = ["command"]

SECRET = "HEISTWATCH_WEBHOOK_SECRET"
REQUEST_SECRET = "HEISTWATCH_REQUEST_SECRET"


@click.group()
def command() -> None:
    """The receiver's side of webhooks."""


@command.command("listen")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any free one.")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="SECRET",
    help=f"Secret to verify with; repeatable. Default: ${SECRET} (several with blanks between them), where the list of "
    "processes does not show it.",
)
@click.option(
    "--request-secret",
    metavar="SECRET",
    help=f"The second secret of a circuit breaker, to check its requests. Default: ${REQUEST_SECRET}.",
)
@click.option(
    "-c",
    "--config",
    "config",
    metavar="CONFIG",
    help="Verify with the secrets of its channels of type webhook and circuit_breaker.",
)
@click.option("--answer", type=click.IntRange(200, 599), default=204, show_default=True, help="Status for messages "
              "that verify; the others get 401.")  # fmt: skip
@click.option("--retry-after", type=click.IntRange(0), metavar="SECONDS", help="Ask for this pause in each answer.")
@click.option("--once", type=click.IntRange(1), metavar="N", help="End after N messages; exit 1 if one did not verify.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def listen(
    host: str,
    port: int,
    secrets: tuple[str, ...],
    request_secret: str | None,
    config: str | None,
    answer: int,
    retry_after: int | None,
    once: int | None,
    as_json: bool,
) -> int:
    """Print each webhook that comes, and whether its signature, time and id hold. Ctrl-C ends it, with counts.

    Without a secret it makes one, and prints what to put into the configuration to have alerts sent here.
    """
    from monitor.cli.listener import Listener

    configured = _configured(config) if config is not None else []
    keys, made = _keys([*secrets, *_texts(configured, "secret", "secrets")])
    second = [request_secret or os.environ.get(REQUEST_SECRET, ""), *_texts(configured, "request_secret")]
    listener = Listener(
        keys,
        answer=answer,
        retry_after=retry_after,
        most=once,
        as_json=as_json,
        request_secrets=[text for text in second if text],
    )
    return asyncio.run(_listen(listener, host, port, made))


async def _listen(listener: Any, host: str, port: int, made: str | None) -> int:
    """Until enough came, or a signal; the exit code."""
    interrupted = False

    def stop(interrupt: bool) -> None:
        nonlocal interrupted
        interrupted = interrupted or interrupt
        listener.ended.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop, True)
    loop.add_signal_handler(signal.SIGTERM, stop, False)
    try:
        async with listener.serving(host, port) as url:
            listener.begin(url, made)
            await listener.ended.wait()
        listener.end()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
    if interrupted:
        return 130
    return 1 if listener.most is not None and listener.refused else 0


def _keys(secrets: Sequence[str]) -> tuple[list[bytes], str | None]:
    """The keys to verify with, and the secret that was made where none was given.

    Raises
    ------
    ConfigError : a secret is none; no value is quoted
    """
    from alerts.signing import MAKE_SECRET, key_of

    texts = [text.strip() for text in secrets] or os.environ.get(SECRET, "").split()
    made = None
    if not texts:
        made = "whsec_" + base64.b64encode(os.urandom(32)).decode()
        texts = [made]
    keys = [key_of(text) for text in texts]
    if not all(keys):
        place = keys.index(b"") + 1
        which = f"secret {place} of {len(keys)}" if len(keys) > 1 else "the secret"
        raise ConfigError(f"{which} is not base64 (with or without whsec_ before it); make one with: {MAKE_SECRET}")
    return list(dict.fromkeys(keys)), made


def _configured(path: str) -> list[dict[str, Any]]:
    """The options of every channel of a configuration that sends signed webhooks."""
    types = ("webhook", "circuit_breaker")
    channels = [channel for receiver in find_config(path).receivers for channel in receiver.channels]
    found = [channel.plain() for channel in channels if channel.type in types]
    if not _texts(found, "secret", "secrets"):
        raise ConfigError(f"{path}: no receiver has a channel of type webhook or circuit_breaker with a secret")
    return found


def _texts(channels: Sequence[dict[str, Any]], *names: str) -> list[str]:
    """The secrets under these options, where they are given."""
    values = [channel.get(name) for channel in channels for name in names]
    several = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
    return [item.strip() for item in several if isinstance(item, str) and item.strip()]
