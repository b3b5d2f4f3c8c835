"""Services that pass texts on (pages, mails, chats of their own): what a thief wrote calls nobody and links nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from alerts.channels.alertmanager import AlertmanagerChannel
from alerts.channels.apprise import AppriseChannel
from alerts.channels.opsgenie import OpsgenieChannel
from alerts.channels.pagerduty import PagerDutyChannel
from monitor.model import Alert

THIEF = "<!channel> @everyone <b>x</b> https://evil.example/claim www.evil.example evil.example"
OURS = "https://watch.example/act/abc"
EXPLORED = f"https://etherscan.io/address/0x{'ab' * 20}"
Make = Callable[[dict[str, Any]], Any]

CHANNELS: list[Make] = [
    lambda more: PagerDutyChannel({"routing_key": "r" * 32, **more}),
    lambda more: OpsgenieChannel({"api_key": "k", **more}),
    lambda more: AlertmanagerChannel({"url": "http://alertmanager.example", **more}),
    lambda more: AppriseChannel({"url": "json://127.0.0.1", **more}),
]


def theft(alert: Callable[..., Alert]) -> Alert:
    """A theft of a token with a name like that, from an exchange whose own name is that of a site."""
    finding = {"chain": "eip155:1", "destination": "0x" + "ab" * 20, "tx": "0x" + "cd" * 32}
    incident = {
        "id": "i1", "entity": "gate.example", "wallets": ["hot-1"], "findings": [finding],
        "lost": [{"display": f"1.5 {THIEF}"}], "explanation": [f"gate.example lost {THIEF}."],
    }  # fmt: skip
    labels = {"entity": "gate.example", "severity": "critical", "kind": "opened"}
    title = f"CRITICAL: gate.example: {THIEF}"
    return alert(title=title, incident=incident, labels=labels, links={"acknowledge": OURS})


@pytest.mark.parametrize("make", CHANNELS)
@pytest.mark.parametrize("template", [{}, {"title": "{{ title }}", "body": "{{ lines[0] }} {{ actions[0].url }}"}])
def test_it_calls_nobody_and_links_nowhere(make: Make, template: dict[str, str], alert: Callable[..., Alert]) -> None:
    """Neither in our own words nor in the owner's template; our addresses, and the owner's name, stay whole."""
    text = json.dumps(json.loads(make({"template": template} if template else {}).render(theft(alert), 1.0)))
    assert "evil[.]example" in text and "gate.example" in text and "gate[.]example" not in text
    for harm in ("<!channel", "@everyone", "<b>", "https://evil", "evil.example"):
        assert harm not in text
    assert OURS in text
    assert EXPLORED in text or template
