"""The circuit breaker: when it asks for a pause, what it sends, and above all when it does not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from alerts.channels.circuit_breaker import CircuitBreakerChannel
from alerts.cooldown import LOG_LENGTH, Cooldown, Decision, Turn
from monitor.errors import ConfigError
from monitor.memory_store import MemoryStore
from monitor.model import Alert, AlertKind, Outcome, Reason, Severity
from monitor.sqlite_store import SqliteStore
from monitor.store import OutboxRow

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SECOND = "the-second-secret-CANARY-7f3a"
QUEUED = 1_700_000_000.0
CANARY = "CANARY-7f3a"

Row = Callable[..., OutboxRow]


def breaker(service: Any = None, store: MemoryStore | None = None, **options: Any) -> CircuitBreakerChannel:
    """An armed breaker, unless told otherwise."""
    given = {"secret": SECRET, "request_secret": SECOND, "armed": True, **options}
    given.setdefault("url", f"{service.url}/pause" if service is not None else "https://breaker.example/pause")
    channel = CircuitBreakerChannel(given)
    if store is not None:
        channel.attach(store)
    return channel


async def trip(channel: CircuitBreakerChannel, alert: Alert, row: Row, now: float = QUEUED + 1, **changes: Any) -> Any:
    queued_at = changes.pop("queued_at", QUEUED)
    body = channel.render(alert, queued_at)
    assert body == channel.render(alert, queued_at)
    receipt = await channel.send(row(alert.id, body=body, queued_at=queued_at, **changes), now)
    await channel.aclose()
    return receipt


def check_request(body: bytes) -> dict[str, Any]:
    """The second signature, by the recipe in `alerts.breaker`, without any code of ours."""
    data = json.loads(body)["data"]
    request: dict[str, Any] = data["request"]

    def quoted(text: str) -> str:
        return text.replace("%", "%25").replace("|", "%7C").replace(",", "%2C")

    texts = [quoted(request[name]) for name in ("action", "incident", "entity")]
    texts.append(",".join(map(quoted, request["wallets"])))
    texts += [quoted(request[name]) for name in ("requested_at", "expires_at", "nonce")]
    right = hmac.new(SECOND.encode(), "|".join(texts).encode(), hashlib.sha256).hexdigest()
    assert hmac.compare_digest(right, data["request_signature"])
    return request


async def words(store: MemoryStore) -> list[str]:
    """What was decided, in order."""
    return [json.loads(value)["what"] for _, value in await store.notes("breaker/log/")]


# -- the request --------------------------------------------------------------------------------------------------


async def test_a_request(service: Any, alert: Any, row: Row) -> None:
    """Both signatures hold; the fields say who, what, and until when."""
    now = time.time()
    incident = {"id": "i1", "entity": "A|B, C%", "wallets": ["hot,2", "hot-1"]}
    receipt = await trip(breaker(service), alert(incident=incident), row, now, queued_at=now)
    assert (receipt.outcome, receipt.reason) == (Outcome.ACCEPTED, Reason.OK)
    (sent,) = service.sent
    assert (sent.method, sent.path, sent.headers["Content-Type"]) == ("POST", "/pause", "application/json")
    assert sent.headers["Idempotency-Key"] == sent.headers["webhook-id"] == "breaker-a1"
    Webhook(SECRET).verify(sent.body, sent.headers)
    request = check_request(sent.body)
    assert request["action"] == "pause_withdrawals"
    assert (request["incident"], request["entity"], request["wallets"]) == ("i1", "A|B, C%", ["hot,2", "hot-1"])
    assert len(request["nonce"]) == 32
    assert json.loads(sent.body)["type"] == "breaker.pause_withdrawals"
    assert SECOND.encode() not in sent.body


@pytest.mark.parametrize("field", ["action", "incident", "entity", "wallets", "requested_at", "expires_at", "nonce"])
def test_every_field_is_signed(alert: Any, field: str) -> None:
    """A changed field fails the second signature."""
    message = json.loads(breaker().render(alert(incident={"id": "i1", "wallets": ["w"]}), QUEUED))
    check_request(json.dumps(message).encode())
    value = message["data"]["request"][field]
    message["data"]["request"][field] = [*value, "x"] if isinstance(value, list) else f"{value}x"
    with pytest.raises(AssertionError):
        check_request(json.dumps(message).encode())


def test_fields_cannot_be_moved(alert: Any) -> None:
    """Text with the separator in it is not the same as two fields."""
    signatures = set()
    for entity, wallets in (("A|w", []), ("A", ["w"]), ("A", ["w,v"]), ("A", ["w", "v"])):
        body = breaker().render(alert(incident={"id": "i", "entity": entity, "wallets": wallets}, labels={}), QUEUED)
        check_request(body)
        signatures.add(json.loads(body)["data"]["request_signature"])
    assert len(signatures) == 4


# -- when ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"severity": Severity.HIGH}, "only critical"),
        ({"severity": None}, "only critical"),
        ({"kind": AlertKind.RESOLVED}, "no news of an open incident"),
        ({"kind": AlertKind.RETRACTED}, "no news of an open incident"),
        ({"kind": AlertKind.REMINDER}, "no news of an open incident"),
        ({"kind": AlertKind.SUMMARY}, "no news of an open incident"),
        ({"kind": AlertKind.BLIND, "incident": None}, "no news of an open incident"),
        ({"incident": None}, "no news of an open incident"),
        ({"incident": {"id": "i1", "status": "resolved"}}, "the incident is resolved"),
        ({"incident": {"id": "i1", "unconfirmed": True}}, "nothing of the incident is mined yet"),
    ],
)
async def test_what_asks_for_no_pause(service: Any, alert: Any, row: Row, changes: dict[str, Any], why: str) -> None:
    """Nothing is sent; the receipt and the log say why."""
    store = MemoryStore()
    receipt = await trip(breaker(service, store), alert(**changes), row)
    assert receipt.outcome is Outcome.ACCEPTED
    assert why in receipt.detail
    assert service.sent == []
    assert await words(store) == ["not-asked"]


@pytest.mark.parametrize(
    ("when", "sent"),
    [
        ({"entity": "Example Exchange"}, True),
        ({"entity": ["Other", "Example Exchange"]}, True),
        ({"entity": "Other"}, False),
        ({"wallet": "hot-2"}, True),
        ({"wallet": "cold-1"}, False),
        ({"chain": "ethereum"}, True),
        ({"chain": "nem:mainnet"}, True),
        ({"chain": "eip155:137"}, False),
        ({"detector": "drain"}, True),
        ({"detector": "other"}, False),
        ({"share_lost": 0.5}, True),
        ({"share_lost": 0.51}, False),
        ({"entity": "Example Exchange", "wallet": "cold-1"}, False),
    ],
)
async def test_rules(service: Any, alert: Any, row: Row, when: dict[str, Any], sent: bool) -> None:
    """Every condition must agree."""
    receipt = await trip(breaker(service, when=when), alert(), row)
    assert receipt.outcome is Outcome.ACCEPTED
    assert (len(service.sent) == 1) is sent


async def test_an_unknown_share_is_not_enough(service: Any, alert: Any, row: Row) -> None:
    """A rule by share needs a share; what is not mined trips it only where the owner says so."""
    await trip(breaker(service, when={"share_lost": 0.1}), alert(incident={"id": "i1"}), row)
    assert service.sent == []
    unconfirmed = {"id": "i1", "unconfirmed": True}
    await trip(breaker(service, when={"unconfirmed": True}), alert(incident=unconfirmed), row)
    assert len(service.sent) == 1


# -- when not -----------------------------------------------------------------------------------------------------


async def test_dry_run_is_the_default(service: Any, alert: Any, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing goes to ``url``; what would have been asked is logged; ``dry_run_url`` gets a request that says so."""
    caplog.set_level(logging.DEBUG)
    store = MemoryStore()
    quiet = CircuitBreakerChannel({"secret": SECRET, "request_secret": SECOND, "url": f"{service.url}/pause"})
    quiet.attach(store)
    receipt = await trip(quiet, alert(), row)
    assert receipt.detail == "dry-run: a pause would be asked for; nothing was sent"
    assert service.sent == []
    assert await words(store) == ["dry-run"]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "heistwatch.breaker"]
    assert line.startswith("dry-run: a pause would be asked for") and "'Example Exchange'" in line
    await trip(breaker(service, armed=False, dry_run_url=f"{service.url}/dry"), alert(), row)
    (sent,) = service.sent
    assert sent.path == "/dry"
    assert check_request(sent.body)["action"] == "pause_withdrawals.dry_run"
    assert json.loads(sent.body)["data"]["dry_run"] is True


async def test_drills_are_always_dry(service: Any, alert: Any, row: Row) -> None:
    """An armed breaker sends nothing for a drill, and a drill starts no cool-down."""
    store = MemoryStore()
    channel = breaker(service, store)
    for number in range(2):
        drill = alert(f"d{number}", kind=AlertKind.DRILL, labels={"kind": "opened", "entity": "Example Exchange"})
        assert (await trip(channel, drill, row)).outcome is Outcome.ACCEPTED
    assert service.sent == []
    assert await words(store) == ["dry-run", "dry-run"]
    await trip(channel, alert(), row)
    assert len(service.sent) == 1


async def test_expired(service: Any, alert: Any, row: Row) -> None:
    """A request that could not be delivered while it held is never sent."""
    store = MemoryStore()
    channel = breaker(service, store)
    receipt = await trip(channel, alert(), row, QUEUED + 600)
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.EXPIRED)
    assert service.sent == []
    assert await words(store) == ["expired"]
    assert (await trip(channel, alert(), row, QUEUED + 599.9)).outcome is Outcome.ACCEPTED
    assert len(service.sent) == 1


async def test_disarmed_meanwhile(service: Any, alert: Any, row: Row) -> None:
    """A request of before the breaker was disarmed stays here; one of a dry run is never sent by an armed breaker."""
    armed = breaker(service).render(alert(), QUEUED)
    dry = breaker(service, armed=False).render(alert(), QUEUED)
    off = breaker(service, armed=False)
    receipt = await off.send(row(body=armed), QUEUED + 1)
    assert receipt.detail.startswith("disarmed")
    on = breaker(service)
    assert (await on.send(row(body=dry), QUEUED + 1)).detail.startswith("dry-run")
    assert service.sent == []


# -- the cool-down ------------------------------------------------------------------------------------------------


async def test_cooldown(service: Any, alert: Any, row: Row) -> None:
    """One request an entity and hour, over restarts; other entities have their own; then the next may go."""
    store = MemoryStore()
    other = alert("b1", incident={"id": "i9", "entity": "Other"})

    def later(alert_id: str, seconds: float) -> Any:
        fresh = breaker(service, store)  # as after a restart
        made = alert(alert_id, kind=AlertKind.ESCALATED)
        return trip(fresh, made, row, QUEUED + seconds, queued_at=QUEUED + seconds - 1)

    assert (await later("a1", 1)).detail == "202"
    assert (await later("a2", 60)).detail.startswith("cooling")
    assert (await later("a3", 3600.5)).detail.startswith("cooling")
    await trip(breaker(service, store), other, row)
    assert (await later("a4", 3601)).detail == "202"
    assert [sent.headers["webhook-id"] for sent in service.sent] == ["breaker-a1", "breaker-b1", "breaker-a4"]
    assert await words(store) == ["sent", "sent", "cooling", "cooling", "sent"]


async def test_the_same_message_again_is_sent_again(service: Any, alert: Any, row: Row) -> None:
    """After a kill between acceptance and record: the same id and bytes, for the receiver to drop."""
    store = MemoryStore()
    await trip(breaker(service, store), alert(), row)
    await trip(breaker(service, store), alert(), row)
    first, second = service.sent
    assert first.body == second.body
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


async def test_a_refusal_starts_no_cooldown(service: Any, alert: Any, row: Row) -> None:
    """What was refused for good paused nothing: the next request goes out."""
    store = MemoryStore()
    service.script = [(403, {}, b""), (202, {}, b"")]
    receipt = await trip(breaker(service, store), alert("a1"), row)
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.AUTH)
    assert (await trip(breaker(service, store), alert("a2"), row)).outcome is Outcome.ACCEPTED
    assert await words(store) == ["refused", "sent"]


async def test_while_one_is_tried_the_next_waits(service: Any, alert: Any, row: Row) -> None:
    """A request whose outcome is open holds the turn, until it cannot be accepted any more."""
    store = MemoryStore()
    service.script = [(500, {}, b""), (503, {"Retry-After": "5"}, b"")]
    channel = breaker(service, store)
    assert (await trip(channel, alert("a1"), row)).outcome is Outcome.RETRY
    waiting = await trip(channel, alert("a2"), row)
    assert (waiting.outcome, waiting.reason, waiting.retry_after) == (Outcome.RETRY, Reason.INTERNAL, None)
    again = await trip(channel, alert("a1"), row)
    assert (again.outcome, again.retry_after) == (Outcome.RETRY, 5.0)
    assert len(service.sent) == 2
    after = QUEUED + 611
    assert (await trip(channel, alert("a3"), row, after, queued_at=after - 1)).outcome is Outcome.ACCEPTED
    assert len(service.sent) == 3


async def test_two_at_once(service: Any, alert: Any, row: Row) -> None:
    """Of many at the same moment, in two processes over one store, one goes out."""
    store = MemoryStore()
    channels = [breaker(service, store), breaker(service, store)]
    alerts = [alert(f"a{number}", incident={"id": f"i{number}", "entity": "Example Exchange"}) for number in range(20)]
    rows = [row(made.id, body=channels[0].render(made, QUEUED)) for made in alerts]
    sends = (channels[place % 2].send(waiting, QUEUED + 1) for place, waiting in enumerate(rows))
    receipts = await asyncio.gather(*sends)
    for channel in channels:
        await channel.aclose()
    assert len(service.sent) == 1
    assert sum(receipt.detail == "202" for receipt in receipts) == 1


async def test_over_a_store_on_disk(service: Any, alert: Any, row: Row, tmp_path: Path) -> None:
    """The cool-down and the log outlive the process."""
    for number in range(3):
        store = SqliteStore(tmp_path / "breaker.db")
        await store.open()
        channel = breaker(service)
        channel.attach(store)
        await trip(channel, alert(f"a{number}"), row)
        logged = [json.loads(value)["what"] for _, value in await store.notes("breaker/log/")]
        await store.aclose()
    assert len(service.sent) == 1
    assert logged == ["sent", "cooling", "cooling"]


async def test_two_breakers_of_two_systems(service: Any, alert: Any, row: Row) -> None:
    """Two addresses are two systems: both are asked. One address in two receivers is one."""
    store = MemoryStore()
    for place in ("one", "two"):
        await trip(breaker(service, store, url=f"{service.url}/{place}"), alert(), row)
    await trip(breaker(service, store, url=f"{service.url}/one"), alert(), row, receiver="root")
    assert [sent.path for sent in service.sent] == ["/one", "/two"]


async def test_a_claim_survives_any_interleaving() -> None:
    """The claim is taken over only where it has ended, and given up only by who holds it."""
    cooldown = Cooldown("place")
    assert await cooldown.claim("E", "one", 0.0, 10.0) is Turn.OURS
    assert await cooldown.claim("E", "two", 9.0, 20.0) is Turn.TAKEN
    assert await cooldown.claim("E", "two", 10.0, 20.0) is Turn.OURS
    await cooldown.free("E", "one")  # too late: it is another's by now
    assert await cooldown.claim("E", "one", 11.0, 20.0) is Turn.TAKEN
    await cooldown.accepted("E", "two", 12.0, 100.0)
    assert await cooldown.claim("E", "one", 99.0, 200.0) is Turn.COOLING
    assert await cooldown.claim("E", "one", 100.0, 200.0) is Turn.OURS


async def test_the_log_is_bounded() -> None:
    """The last thousand decisions are kept, and nothing else is touched."""
    store = MemoryStore()
    cooldown = Cooldown("place")
    cooldown.attach(store)
    await cooldown.claim("log", "row", 0.0, 1.0)  # an entity of that name
    for number in range(LOG_LENGTH + 120):
        await cooldown.log(Decision(float(number), f"a{number}", "E", "i", "sent", ""))
    kept = await store.notes("breaker/log/")
    assert LOG_LENGTH - 50 <= len(kept) <= LOG_LENGTH
    assert json.loads(kept[-1][1])["alert"] == f"a{LOG_LENGTH + 119}"
    assert len(await store.notes("breaker/")) == len(kept) + 1


# -- options ------------------------------------------------------------------------------------------------------


def test_two_secrets_are_needed() -> None:
    """The second must be there, long enough, and another one, however it is written."""
    for second in (None, "short", SECRET, SECRET.removeprefix("whsec_"), SECRET.rstrip("=")):
        with pytest.raises(ConfigError) as caught:
            breaker(request_secret=second)
        assert SECRET.removeprefix("whsec_")[:20] not in str(caught.value)
    with pytest.raises(ConfigError):
        breaker(secrets=[base64.b64encode(b"x" * 32).decode()], request_secret=base64.b64encode(b"x" * 32).decode())


@pytest.mark.parametrize(
    "options",
    [
        {"url": None},
        {"url": CANARY},
        {"armed": "yes"},
        {"when": CANARY},
        {"when": {"severity": "high"}},
        {"when": {"entty": "x"}},
        {"when": {"entity": []}},
        {"when": {"chain": "etherium"}},
        {"when": {"share_lost": 60}},
        {"when": {"share_lost": True}},
        {"when": {"unconfirmed": "yes"}},
        {"cooldown": 0},
        {"valid": 7200},
        {"secret": None},
        {"arm": True},
    ],
)
def test_wrong_options(options: dict[str, Any]) -> None:
    """Each is refused, and no value is quoted."""
    with pytest.raises(ConfigError) as caught:
        breaker(**options)
    assert CANARY not in str(caught.value)
    assert len(caught.value.problems) == 1


def test_disarmed_needs_no_address() -> None:
    """To look at what it would do, nothing has to be there yet."""
    assert repr(breaker(armed=False, url=None)) == "CircuitBreakerChannel(host='', armed=False)"
