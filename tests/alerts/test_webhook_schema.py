"""The documents of webhooks against what the channel really writes: nothing undescribed, nothing missing."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ValidationError
from standardwebhooks import Webhook

from alerts.channels.circuit_breaker import CircuitBreakerChannel
from alerts.channels.webhook import WebhookChannel
from alerts.payload import KINDS, TYPES
from alerts.payload import Incident as IncidentForm
from alerts.payload_schema import openapi, webhook_schema
from alerts.signing import signature
from monitor.assets import AssetNames
from monitor.backtesting import run as report
from monitor.case import load_case
from monitor.case_run import run_case
from monitor.gap import blind
from monitor.model import Alert, AlertKind, Finding, Incident, Role, Severity, Status
from monitor.published import alert_of, incident_data

ROOT = Path(__file__).parents[2]
PLAYED = ("opened", "escalated", "updated", "resolved", "retracted", "reminder")
CASES = ("coincheck-2018", "parity-2017", "wintermute-2022")
CHANNEL = WebhookChannel({"url": "https://receiver.example", "secret": "whsec_" + "A" * 44})
LINKS = {name: f"https://watch.example/{name}?t=abc" for name in ("incident", "acknowledge", "confirm", "false_alarm")}

STRICT = Draft202012Validator(webhook_schema(), format_checker=FormatChecker())
OPEN = Draft202012Validator(webhook_schema(strict=False), format_checker=FormatChecker())

FORMS = {
    form.__name__: Draft202012Validator({"$defs": STRICT.schema["$defs"], "$ref": f"#/$defs/{form.__name__}"})
    for form in TYPES.values()
}


def body_of(alert: Alert) -> dict[str, Any]:
    """What the channel sends."""
    made: dict[str, Any] = json.loads(CHANNEL.render(alert, 1_700_000_000.25))
    return made


def check(body: dict[str, Any]) -> dict[str, Any]:
    """Valid by the schema, and by the models that it is made from."""
    form = TYPES[body["type"]]
    for fault in FORMS[form.__name__].iter_errors(body):  # its place is clearer than that of `oneOf`
        raise AssertionError(f"{fault.json_path}: {fault.message}")
    STRICT.validate(body)
    OPEN.validate(body)
    form.model_validate(body)
    return body


def refused(body: dict[str, Any]) -> bool:
    """Not valid; schema and models must agree."""
    form = FORMS[TYPES[body["type"]].__name__] if body.get("type") in TYPES else STRICT  # faster than `oneOf`
    by_schema = not form.is_valid(body)
    try:
        TYPES[body["type"]].model_validate(body)
    except (ValidationError, KeyError, TypeError):
        assert by_schema, "the models refuse what the schema allows"
    return by_schema


@pytest.fixture(scope="module")
def thefts() -> dict[str, tuple[Incident, AssetNames]]:
    """The incident of each built-in case, as the engine finds it."""
    found: list[tuple[Any, ...]] = []
    made: dict[str, tuple[Incident, AssetNames]] = {}
    original = report.report
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "report", lambda *args: (found.append(args), original(*args))[1])
        for name in CASES:
            run_case(load_case(name))
            _, _, incidents, names, *_ = found.pop()
            made[name] = incidents[0], names
    return made


# -- what is really sent ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", PLAYED)
def test_real_incidents(thefts: Any, case: str, kind: str) -> None:
    """The theft of a case in each kind of message, and as a drill."""
    incident, names = thefts[case]
    alert = alert_of(incident, kind, names, {incident.wallets[0]: Role.HOT}, "heistwatch.yaml")
    body = check(body_of(replace(alert, labels={**alert.labels, "incident": incident.id}, links=LINKS)))
    assert body["type"] == f"incident.{kind}" and body["data"]["incident"]["findings"]
    assert body["data"]["links"] == LINKS and "covers" not in body["data"]
    drill = check(body_of(replace(alert, kind=AlertKind.DRILL)))
    assert (drill["type"], drill["data"]["kind"]) == (f"drill.{kind}", "drill")


def test_an_incident_with_everything(thefts: Any) -> None:
    """Prices, verdicts, a merger (which has no time), returned funds, a proof of nothing mined."""
    incident, names = thefts["coincheck-2018"]
    (asset, value), *_ = incident.lost
    whole = replace(
        incident,
        status=Status.FALSE_ALARM,
        lost_usd=1.5,
        worth=((asset, 1.5),),
        returned=((asset, value),),
        unconfirmed=True,
        history=(
            {"what": "acknowledge", "by": "ann", "comment": "", "at": "2024-01-01T00:00:00.250Z"},
            {"what": "merged", "by": "heistwatch", "comment": "i2"},
        ),
    )
    sent = check(body_of(alert_of(whole, "resolved", names, {})))["data"]["incident"]
    assert sent["lost"][0]["usd"] == 1.5 and sent["returned"][0]["value"] == str(value)
    check(body_of(alert_of(replace(whole, worth=()), "resolved", names, {})))


def test_an_incident_with_nothing() -> None:
    """The least that an incident can hold."""
    bare = Incident(
        id="i", entity="e", wallets=(), status=Status.OPEN, severity=Severity.INFO, opened_at=0, opened_block=0,
        opened_chain="", opened_tx="", revision=1, findings=(), movements=(), suspects=(), lost=(), share_lost=None,
        share_lost_at_open=None,
    )  # fmt: skip
    check(body_of(alert_of(bare, "updated", AssetNames(), {})))
    assert set(incident_data(bare, AssetNames())) == set(IncidentForm.model_fields)


def test_summaries(thefts: Any) -> None:
    """Several held messages in one: of one incident, or of several. What it covers must be there."""
    incident, names = thefts["wintermute-2022"]
    alert = alert_of(incident, "updated", names, {})
    summary = replace(alert, kind=AlertKind.SUMMARY, covers=("a1", "a2"))
    assert check(body_of(summary))["data"]["covers"] == ["a1", "a2"]
    check(body_of(replace(summary, incident=None)))
    check(body_of(replace(alert, covers=("a1",))))  # an update that stands for those that waited
    assert refused(body_of(replace(summary, covers=())))


def test_the_monitor_speaks_of_itself() -> None:
    """No severity, no incident."""
    alert = blind("eip155:1", "eip155:1: blocks 1 to 9 were not seen", "no endpoint has them")
    assert alert.severity is not None
    body = check(body_of(alert))
    assert "severity" not in body["data"] and body["data"]["incident"] is None
    check(body_of(replace(alert, kind=AlertKind.RECOVERED, links={"incident": "https://watch.example/"})))
    assert refused({**body, "data": {**body["data"], "severity": "high"}})


@pytest.mark.parametrize("armed", [True, False])
@pytest.mark.parametrize("kind", ["opened", "escalated", "updated", "drill"])
def test_requests_of_a_circuit_breaker(thefts: Any, armed: bool, kind: str) -> None:
    """Armed and not, of a real incident and of a drill; an unknown field in any of its parts is a fault."""
    options = {"url": "https://breaker.example", "secret": "whsec_" + "A" * 44, "request_secret": "b" * 32}
    channel = CircuitBreakerChannel({**options, "armed": armed})
    incident, names = thefts["coincheck-2018"]
    alert = alert_of(incident, "opened" if kind == "drill" else kind, names, {})
    body = json.loads(channel.render(replace(alert, kind=AlertKind(kind)), 1_700_000_000.25))
    dry = not armed or kind == "drill"
    assert check(body)["type"] == f"breaker.pause_withdrawals{'.dry_run' if dry else ''}"
    for path in objects(body):
        strange = copy.deepcopy(body)
        at(strange, path)["surprise"] = 1
        assert refused(strange)


def test_a_message_that_was_shortened(thefts: Any) -> None:
    """What is sent where an incident cannot be written: without it, and without labels."""
    incident, names = thefts["coincheck-2018"]
    check(body_of(replace(alert_of(incident, "opened", names, {}), labels={}, incident=None)))


TEXT = st.text(st.characters(codec=None), max_size=40)
NUMBER = st.one_of(st.none(), st.floats(min_value=0.0))
MOMENT = st.integers(0, 4_102_444_800)
ASSET = st.sampled_from(["eip155:1/slip44:60", "nem:mainnet/slip44:43", "eip155:1/erc20:0x" + "ab" * 20])
AMOUNTS = st.dictionaries(ASSET, st.integers(0, 2**256 - 1), max_size=2).map(lambda found: tuple(found.items()))
EVIDENCE = st.dictionaries(TEXT, st.one_of(NUMBER, TEXT, st.booleans(), st.lists(TEXT, max_size=2)), max_size=3)
FINDINGS = st.builds(
    Finding, TEXT, TEXT, TEXT, TEXT, st.sampled_from(Severity), st.floats(0, 99), TEXT, TEXT, MOMENT,
    st.integers(0, 2**63), asset=TEXT, destination=TEXT, value=st.integers(0, 2**256 - 1),
    return_period_days=NUMBER, evidence=EVIDENCE,
)  # fmt: skip
INCIDENTS = st.builds(
    Incident, TEXT, TEXT, st.lists(TEXT, max_size=2).map(tuple), st.sampled_from(Status), st.sampled_from(Severity),
    MOMENT, st.integers(0, 2**63), TEXT, TEXT, st.integers(0, 10**6), st.lists(FINDINGS, max_size=2).map(tuple),
    st.just(()), st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple), AMOUNTS, NUMBER, NUMBER, MOMENT,
    st.one_of(st.none(), MOMENT), st.one_of(st.none(), TEXT), NUMBER, st.booleans(), st.just(("why",)), NUMBER,
    st.just(()), st.just(()), st.just(()), st.booleans(),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_whatever_is_sent_is_described(data: st.DataObject) -> None:
    """Alerts with any text, number and status."""
    incident = data.draw(INCIDENTS)
    incident = replace(incident, returned=incident.lost[:1])
    kind = data.draw(st.sampled_from(AlertKind))
    monitor = kind in (AlertKind.BLIND, AlertKind.RECOVERED)
    alert = Alert(
        data.draw(TEXT.filter(bool)),
        kind,
        data.draw(TEXT),
        data.draw(TEXT),
        data.draw(st.sampled_from(Severity)),
        data.draw(st.dictionaries(TEXT, TEXT, max_size=3)),
        data.draw(TEXT),
        None if monitor or data.draw(st.booleans()) else incident_data(incident, AssetNames()),
        data.draw(st.sampled_from([{}, LINKS])),
        ("a1", "a2") if kind is AlertKind.SUMMARY else (),
    )
    check(body_of(alert))


# -- what is not ------------------------------------------------------------------------------------------------------

FREE = {"labels", "evidence"}  # mappings whose names are not ours to list


def objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the objects of a body are, those with free names apart."""
    if isinstance(value, dict) and not (path and path[-1] in FREE):
        yield path
        for key, item in value.items():
            yield from objects(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from objects(item, (*path, place))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """The part of a body at a path."""
    for step in path:
        value = value[step]
    return value


@pytest.fixture(scope="module")
def full(thefts: Any) -> dict[str, Any]:
    """A body in which every object of the form occurs."""
    incident, names = thefts["coincheck-2018"]
    whole = replace(
        incident,
        findings=incident.findings[:2],
        returned=incident.lost,
        history=({"what": "confirm", "by": "ann", "comment": "", "at": "2024-01-01T00:00:00Z"},),
    )
    return check(body_of(replace(alert_of(whole, "opened", names, {}), links=LINKS)))


def test_an_unknown_field_is_a_fault(full: dict[str, Any]) -> None:
    """At every place of the body; the open schema allows it."""
    paths = list(objects(full))
    assert len(paths) >= 8
    for path in paths:
        body = copy.deepcopy(full)
        at(body, path)["surprise"] = 1
        assert refused(body), path
        assert OPEN.is_valid(body), path


def test_a_missing_field_is_a_fault(full: dict[str, Any]) -> None:
    """Every field is there always, but for links, prices and the time of a merger."""
    optional = {"links", *LINKS, "usd"}
    tried = 0
    for path in objects(full):
        for key in at(full, path):
            if key in optional or (path[-2:-1] == ("history",) and key == "at"):
                continue
            body = copy.deepcopy(full)
            del at(body, path)[key]
            assert refused(body), (path, key)
            tried += 1
    assert tried > 60 and not OPEN.is_valid({**full, "data": {}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("type",), "incident.closed"),
        (("type",), "monitor.blind"),
        (("type",), "drill.opened"),
        (("timestamp",), "2024-01-01T00:00:00"),
        (("timestamp",), "2024-01-01T00:00:00+00:00"),
        (("timestamp",), 1_700_000_000),
        (("data", "id"), ""),
        (("data", "severity"), "fatal"),
        (("data", "severity"), None),
        (("data", "labels"), {"role": 1}),
        (("data", "covers"), []),
        (("data", "covers"), None),
        (("data", "incident", "revision"), "1"),
        (("data", "incident", "status"), "closed"),
        (("data", "incident", "lost", 0, "value"), 5),
        (("data", "incident", "lost", 0, "value"), "5.0"),
        (("data", "incident", "lost", 0, "value"), "٥"),
        (("data", "incident", "opened_at"), None),
        (("data", "incident", "share_lost"), -0.5),
    ],
)
def test_a_wrong_value_is_a_fault(full: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    """Types, words, units."""
    body = copy.deepcopy(full)
    at(body, path[:-1])[path[-1]] = value
    assert refused(body)


def test_the_kind_is_that_of_the_type(full: dict[str, Any]) -> None:
    """`data.kind` of another type is a fault of the body."""
    body = copy.deepcopy(full)
    body["data"]["kind"] = "updated"
    assert not STRICT.is_valid(body)


# -- the documents ----------------------------------------------------------------------------------------------------


def test_every_type_is_described() -> None:
    """All types that an alert can have, no others."""
    plain = [Alert("a", kind, "", "") for kind in AlertKind if kind is not AlertKind.DRILL]
    drills = [Alert("a", AlertKind.DRILL, "", "", labels={"kind": kind}) for kind in PLAYED]
    assert {alert.type: str(alert.kind) for alert in (*plain, *drills)} == KINDS
    breaker = {"breaker.pause_withdrawals", "breaker.pause_withdrawals.dry_run"}
    assert set(TYPES) == {*KINDS, *breaker} == set(openapi()["webhooks"])


def test_schemas_are_schemas() -> None:
    """Valid by the standard's own description; every property of ours but plain names is described."""
    for schema in (webhook_schema(), webhook_schema(strict=False)):
        Draft202012Validator.check_schema(schema)
    assert "additionalProperties" not in json.dumps(webhook_schema(strict=False)).replace(
        '"additionalProperties": true', ""
    ).replace('"additionalProperties": {"type": "string"}', "")


def test_the_committed_document_is_the_program_s() -> None:
    """docs/openapi-webhooks.json; written by `heistwatch schema openapi > docs/openapi-webhooks.json`."""
    text = (ROOT / "docs" / "openapi-webhooks.json").read_text("utf-8")
    assert json.loads(text) == openapi()


def references(value: Any) -> Iterator[str]:
    """Every reference in a document."""
    if isinstance(value, dict):
        yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_references_of_the_openapi_document_resolve() -> None:
    """And nothing stands in it that nobody refers to."""
    document = openapi()
    assert document["openapi"] == "3.1.0" and "paths" not in document
    used = set(references(document))
    components = document["components"]
    assert used == {f"#/components/{kind}/{name}" for kind, part in components.items() for name in part}
    operations = [hook["post"]["operationId"] for hook in document["webhooks"].values()]
    assert len(set(operations)) == len(operations)


def test_each_openapi_webhook_takes_its_own_messages(full: dict[str, Any], alert: Callable[..., Alert]) -> None:
    """The schema of a webhook holds for its type, with additions too, and for no other type."""
    document = openapi()
    bodies = [full, body_of(blind("c", "t", "w"))]
    for name, hook in document["webhooks"].items():
        schema = hook["post"]["requestBody"]["content"]["application/json"]["schema"]
        validator = Draft202012Validator({**schema, "components": document["components"]})
        for body in bodies:
            assert validator.is_valid(body) == (body["type"] == name)
            assert validator.is_valid({**body, "later": 1}) == (body["type"] == name)


async def test_headers_are_as_the_openapi_document_says(alert: Callable[..., Alert]) -> None:
    """The three headers of a real signature, with one key and with two."""
    parameters = openapi()["components"]["parameters"]
    for keys in ([Webhook(b"k" * 24)], [Webhook(b"k" * 24), Webhook(b"l" * 24)]):
        headers = signature(keys, "a1", b"{}", 1_700_000_000.9)
        assert set(headers) == set(parameters)
        for name, parameter in parameters.items():
            assert Draft202012Validator(parameter["schema"]).is_valid(headers[name]), name


def test_the_examples_in_the_document_are_valid() -> None:
    """The messages that docs/webhooks.md shows."""
    text = (ROOT / "docs" / "webhooks.md").read_text("utf-8")
    shown = re.findall(r"^```json[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert {check(json.loads(block))["type"] for block in shown} == {"incident.opened", "breaker.pause_withdrawals"}


def test_the_document_names_every_type() -> None:
    """In the table of types, drills by their family."""
    text = (ROOT / "docs" / "webhooks.md").read_text("utf-8")
    named = set(re.findall(r"`((?:incident|monitor|drill|breaker)\.[\w.]+)`", text))
    assert {name for name in TYPES if not name.startswith("drill.")} | {"drill.opened"} <= named
    assert {name for name in named if name.partition(".")[2] in set(KINDS.values())} <= set(TYPES)
