"""The commented configuration that `heistwatch init` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from monitor.networks import NETWORKS

__all__ = ["PLACEHOLDERS", "template"]

PLACEHOLDERS: Mapping[str, str] = {
    **{network.name: "0x" + "0" * 40 for network in NETWORKS if network.kind == "evm"},
    **{network.name: "mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8" for network in NETWORKS if network.kind == "bitcoin"},
    "bitcoin": "1111111111111111111114oLvT2",
    "bitcoin-cash": "bitcoincash:qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqfnhks603",
    "litecoin": "LKDxGDJq5fF4FohAB8zJH24mDDNHDNtqsE",
    "dogecoin": "D596YFweJQuHY1BbjazZYmAbt8jJPbKehC",
    "dogecoin-testnet": "nUCAGGgZEPN1QyknmQe1oAku817bQAFKFt",
    "monacoin": "M7uAERuQW2AotfyLDyewFGcLUDtAYu9v5V",
    "nem": "NAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABFX5GWH",
    "nem-testnet": "TAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMPFU6I",
}
"""Per network the canonical address of an all-zero key hash: valid in form, and nobody's wallet."""

_TEMPLATE = """\
# heistwatch: what to watch, and whom to tell.
#
#   heistwatch check {file}     says whether everything here is right
#   heistwatch watch {file}     watches
#
# "${{NAME}}" reads an environment variable, "${{file:PATH}}" a file: keep secrets out of this file that way.
# Relative paths start at the folder of this file.
version: 1

budget:
  # False alarms that each wallet may raise in 30 days. The one knob: lower is calmer and later.
  false_alarms_per_wallet_month: 1

chains:
  - name: {network}
    # Nodes or providers, two or more are best: "https://..." or {{url: "https://...", weight: 2, rate: 10}}
    # (the heavier is preferred; rate: calls a second that it allows). Work on history needs none.
    {endpoints}
    # quorum: 2    a block counts only when so many endpoints agree on it

wallets:
  - id: {id}
    # Incidents are per entity: give all wallets of one owner the same.
    entity: {entity}
    # hot | cold | deposit | treasury | personal
    role: {role}
    addresses:
{placeholder}      - {address}
      # - "file:addresses.txt"        one a line; also CSV or Parquet with a column "address"
      # On chains of the Bitcoin family also what all addresses of a wallet come from; never anything private:
      # - "bitcoin:wpkh([d34db33f/84h/0h/0h]xpub.../<0;1>/*)"      a descriptor; or "bitcoin:zpub..."
      # - {{descriptor: "bitcoin:zpub...", gap_limit: 100}}         unused addresses that are watched; usually 20
    # Counterparties that you expect, with a ceiling where you can give one:
    # trusted:
    #   - {{address: "{network}:...", max: "100 {symbol}", window: 1d}}
    # Plain rules, beside the statistical detectors:
    # rules:
    #   - {{asset: native, over: "50 {symbol}", window: 1h}}
    #   - {{balance_below: "10 {symbol}"}}

# Where everything is kept that must survive a restart.
store:
  url: "sqlite:///heistwatch.db"

# Health, metrics and incidents over HTTP.
http:
  listen: "127.0.0.1:8787"
  # token: "${{HEISTWATCH_TOKEN}}"
  # Messages carry links to acknowledge and dismiss, once they are signed and lead to where this can be reached:
  # public_url: "https://watch.example.com"
  # link_secret: "${{LINK_SECRET}}"

{receivers}"""

_ALONE = "# Without receivers, alerts are printed to the console. To tell people, uncomment what you need:\n"
_NEXT = "# Uncomment what you need. `heistwatch routes test --render` shows who would get what.\n"

_TELLING = """\
= receivers:
=   - name: main
=     channels:
=       - type: webhook
=         url: {url}
{secret}
+   - name: on-call
+     zone: Europe/Berlin              # times are shown in it, too
+     channels:
+       - {{type: pagerduty, routing_key: "${{PAGERDUTY_KEY}}"}}
+       - {{type: telegram, token: "${{TELEGRAM_TOKEN}}", chat: "-1001234567890"}}
= route:
=   receiver: main                     # gets what no route inside takes
+   repeat_interval: 4h                # an open incident that nobody acknowledged is said again
+   escalation: pager
+   routes:                            # the first that matches wins, unless it says `continue: true`
+     - {{match: {{severity: [low, medium]}}, receiver: main, quiet: [nights]}}
+ times: {{nights: [{{from: "22:00", to: "07:00", zone: Europe/Berlin}}]}}
+ inhibit: [{{source: {{severity: critical}}, target: {{severity: [low, medium]}}}}]     # of the same entity
+ escalations: {{pager: [{{after: 5m, receiver: on-call}}]}}       # not acknowledged so long
+ drill: {{every: monthly, at: "10:00", zone: Europe/Berlin}}    # a theft that is not real, played through all of it
+ heartbeat: [{{url: "${{HEARTBEAT_URL}}"}}]     # fetched while all is well: somebody else notices when this is gone
"""
"""``=`` is what a configuration with a receiver has, ``+`` what it may have."""


def template(answers: Mapping[str, Any]) -> str:
    """Commented YAML of a starting configuration, which loads as it is.

    Parameters
    ----------
    answers : any of ``address`` (with or without its chain), ``network``, ``role``, ``id``, ``entity``, ``endpoint``,
        ``webhook`` (URL), ``secret`` (of the webhook), ``file`` (its name, for the comments). What is missing or empty
        takes a default; without an address a placeholder is written, of which `heistwatch check` warns.
    """
    given = {key: str(value).strip() for key, value in answers.items() if value not in (None, "")}
    network, address = _network_and_address(given)
    role = given.get("role", "hot")
    wallet = given.get("id", f"my-{role}-wallet")
    known = {n.name: n for n in NETWORKS}
    return _TEMPLATE.format(
        file=given.get("file", "heistwatch.yaml"),
        network=network,
        symbol=known[network].symbol if network in known else "COIN",
        endpoints=_endpoints(network, given.get("endpoint")),
        id=_quoted(wallet),
        entity=_quoted(given.get("entity", "My Company" if role != "personal" else "Me")),
        role=role,
        placeholder="" if address else "      # REPLACE THIS PLACEHOLDER with the address of your own wallet:\n",
        address=_quoted(f"{network}:{address or PLACEHOLDERS.get(network, '...')}"),
        receivers=_receivers(given.get("webhook"), given.get("secret")),
    )


def _network_and_address(given: Mapping[str, str]) -> tuple[str, str]:
    """The network by name, and the address without it."""
    address, network = given.get("address", ""), given.get("network", "")
    head, colon, rest = address.partition(":")
    if colon and (head == network or (not network and any(n.name == head for n in NETWORKS))):
        return head, rest
    return network or "ethereum", address


def _endpoints(network: str, endpoint: str | None) -> str:
    if endpoint:
        return f"endpoints: [{_quoted(endpoint)}]"
    return f'# endpoints: ["${{{network.upper().replace("-", "_")}_RPC}}"]'


def _receivers(url: str | None, secret: str | None) -> str:
    """Receivers, route and what belongs to them; without a webhook all of it is an example."""
    line = f"=         secret: {_quoted(secret or '${WEBHOOK_SECRET}')}"
    if url and not secret:
        line = '=         # secret: "${WEBHOOK_SECRET}"    to sign what is sent'
    text = _TELLING.format(url=_quoted(url or "${WEBHOOK_URL}"), secret=line)
    if not url:
        return _ALONE + "".join(f"# {row[2:]}\n" for row in text.splitlines())
    shown = (row[2:] if row.startswith("=") else f"# {row[2:]}" for row in text.splitlines())
    return _NEXT + "".join(f"{row}\n" for row in shown)


def _quoted(text: str) -> str:
    """A YAML text that says exactly this; ``${`` is escaped unless the whole is a reference to a variable or file."""
    if not (text.startswith("${") and text.endswith("}") and text.count("${") == 1):
        text = text.replace("${", "$${")
    return json.dumps(text, ensure_ascii=False)
