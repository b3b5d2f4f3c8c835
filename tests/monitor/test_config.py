"""The configuration: what it accepts, what it says of mistakes, what it keeps to itself."""

from __future__ import annotations

import copy
import json
import pickle
import time
from fractions import Fraction
from pathlib import Path

import polars
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.addresses import canonical
from monitor.alerting import checked, weaknesses
from monitor.config import RuleKind, config_from_mapping, json_schema, load_config
from monitor.config.file import ConfigFile, WalletEntry
from monitor.config.template import PLACEHOLDERS, template
from monitor.errors import ConfigError
from monitor.model import ControlKind, Role, Severity, Trusted
from monitor.networks import NETWORKS

ERRORS = Path(__file__).parent / "config_errors"
EXAMPLE = Path(__file__).parents[2] / "config" / "heistwatch.example.yaml"
HOT = "ethereum:0x28c6c06298d514db089934071355e5743bf21d60"
COLD = "ethereum:0xbe0eb53f46cd790cd13851d5eff43d12404d33e8"
PAID = "ethereum:0x21a31ee1afc51d94c2efccaa2092ad1028285549"
CANARY = "canary-7f3a9c-never-shown"
SECRETS = (
    "ETH_RPC", "ETH_RPC_2", "HEISTWATCH_TOKEN", "WEBHOOK_SECRET", "LINK_SECRET", "SLACK_TOKEN", "MAIL_PASSWORD",
    "PAGERDUTY_KEY", "PAUSE_SECRET", "PAUSE_REQUEST_SECRET", "HEARTBEAT_URL", "ALERTMANAGER_URL",
)  # fmt: skip
ENVIRON = {name: f"https://{CANARY}/{name}" for name in SECRETS}


def wallet(**more):
    return {"id": "hot", "role": "hot", "addresses": [HOT], **more}


def made(**sections):
    """A configuration of plain values with one wallet, unless ``wallets`` says otherwise."""
    return config_from_mapping({"wallets": [wallet()], **sections}, Path("/srv"), "case")


def written(folder, text, environ=None, name="heistwatch.yaml"):
    """A configuration loaded from a file with that text."""
    (folder / name).write_text(text)
    return load_config(folder / name, environ or {})


def problems_of(call, *args, **kwargs):
    """The messages of the ConfigError that a call must raise."""
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    assert caught.value.problems
    return [str(problem) for problem in caught.value.problems]


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.stem for path in ERRORS.glob("*.yaml")))
def test_every_mistake_is_told_with_its_place(name, monkeypatch):
    """All problems of all files at once, by file and line; a line that ends in ... is the start of a message."""
    monkeypatch.chdir(ERRORS)
    found = problems_of(load_config, Path(f"{name}.yaml"), {"EMPTY": ""})
    expected = (ERRORS / f"{name}.errors").read_text().splitlines()
    assert len(found) == len(expected), found
    for line, wanted in zip(found, expected, strict=True):
        assert line.startswith(wanted[:-3]) if wanted.endswith("...") else line == wanted
    assert "canary" not in "".join(found).lower()
    assert "CA4A12" not in "".join(found).upper()


def test_every_expectation_has_its_mistake():
    """No expected message lies about without a file that causes it."""
    assert {p.stem for p in ERRORS.glob("*.errors")} == {p.stem for p in ERRORS.glob("*.yaml")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"wallets: \xff\n", "is not UTF-8 text"),
        (b"wallets:\n  - id: a\x07b\n", ":2: not valid YAML: a control character"),
        (b"- a\n- b\n", ":1: expected 'key: value' lines"),
        (b"wallets: []\n---\nwallets: []\n", "not valid YAML: but found another document"),
        (b"wallets: &a [*a]\n", "an alias contains itself"),
        (b"wallets: !python/object:os.system x\n", "a value that begins with ! must be in quotes"),
        (b"[" * 3000, "nested too deeply"),
        (b"? [a]\n: b\nwallets: []\n", ":1: a key must be plain text"),
        (b"wallets: []\n", ":1: wallets is empty: there is nothing to watch"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_clear_line(tmp_path, content, message):
    """Broken files end as a problem with a place, whatever is broken."""
    path = tmp_path / "heistwatch.yaml"
    path.write_bytes(content)
    found = problems_of(load_config, path, {})
    assert any(message in line and str(path) in line for line in found), found


def test_a_bomb_of_aliases_is_stopped(tmp_path, monkeypatch):
    """Aliases of aliases cannot fill the memory."""
    monkeypatch.setattr("monitor.config.yaml.MAX_NODES", 5000)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 9)]
    assert "too large" in problems_of(written, tmp_path, "\n".join(lines))[0]


def test_a_missing_file_is_a_config_error(tmp_path):
    """A path that leads nowhere, or to a folder, is a problem with that path."""
    assert "cannot be read: No such file" in problems_of(load_config, tmp_path / "none.yaml", {})[0]
    assert "cannot be read: Is a directory" in problems_of(load_config, tmp_path, {})[0]


# --- what it says -----------------------------------------------------------------------------------------------------


def test_the_example_loads_and_means_what_it_says():
    """The shipped example is valid, and its amounts, times and addresses arrive exactly."""
    config = load_config(EXAMPLE, ENVIRON)
    hot, cold, nem = config.wallets
    assert hot.addresses == (
        ("eip155:1", "0x28c6c06298d514db089934071355e5743bf21d60"),
        ("bip122:000000000019d6689c085ae165831e93", "34xp4vRoCGJym3xR7yCVPFHoCNxv4Twseo"),
    )
    assert nem.addresses == (("nem:mainnet", "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"),)
    usdc = "eip155:1/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
    paid = "0x21a31ee1afc51d94c2efccaa2092ad1028285549"
    assert hot.trusted[1] == Trusted(
        "eip155:1", paid, "eip155:1/slip44:60", 100 * 10**18, 86400, 1704067200, 1893456000
    )
    assert hot.trusted[2] == Trusted("eip155:1", paid, usdc, 250_000 * 10**6, 86400)
    over, tokens, below, share, unlisted = config.rules["example-hot"]
    assert over.limits == (("eip155:1/slip44:60", 500 * 10**18),)
    assert (over.kind, over.window, over.severity) == (RuleKind.OVER, 3600, Severity.HIGH)
    assert tokens.limits == ((usdc, 10**12),)
    assert below.kind is RuleKind.BALANCE_BELOW
    assert (share.share, share.window, share.limits) == (Fraction(1, 5), 6 * 3600, ())
    assert unlisted.list_name == "customers"
    assert ("eip155:1", paid) in config.lists["customers"] and len(config.lists["customers"]) == 2
    assert config.rules["example-cold"][0].severity is Severity.CRITICAL
    assert (hot.budget, cold.budget, hot.entity) == (0.5, 1.0, "Example Exchange")
    assert config.planned[0].kind is ControlKind.IMPLEMENTATION_CHANGE
    assert config.planned[0].value == "0x34cfac646f301356faa8b21e94227e3583fe3f5f"
    rehearsal = config.chain("rehearsal")
    assert (rehearsal.chain, rehearsal.replay, rehearsal.start) == ("eip155:31337", True, 0)
    assert config.chain("eip155:1").endpoints[0].url.get_secret_value() == ENVIRON["ETH_RPC"]
    assert config.receivers[0].channels[0].plain()["secret"] == ENVIRON["WEBHOOK_SECRET"]
    first, second, third = config.route["routes"]
    assert first == {"match": {"severity": ["critical"]}, "receiver": "response", "continue": True}
    assert (second["escalation"], config.route["group_interval"], config.route["group_wait"]) == ("pager", 300, 0)
    assert (third["quiet"], third["active"]) == (["nights"], ["week"])
    step = {"after": 300, "receiver": "on-call", "severities": ["high", "critical"]}
    assert config.alerting.escalations["pager"][0] == step
    assert config.alerting.times["nights"][0] == {"days": [], "from": "22:00", "to": "07:00", "zone": "Asia/Tokyo"}
    assert config.alerting.drill is not None and config.alerting.drill["every"] == "monthly"
    assert [entry.every for entry in config.alerting.heartbeat] == [60.0, 30.0]
    assert (config.receivers[0].zone, config.receivers[0].storm) == ("Asia/Tokyo", 30)
    assert config.http.public_url == "https://heistwatch.example.test"
    assert config.display(usdc, 1_500_000) == "1.5 USDC"
    assert config.place("route", "routes", 1).startswith(f"{EXAMPLE}:")


def test_the_example_shows_every_key():
    """Each section and each key of a wallet is in the example, if only as a comment."""
    text = EXAMPLE.read_text()
    for name, field in [*ConfigFile.model_fields.items(), *WalletEntry.model_fields.items()]:
        assert f"{field.alias or name}:" in text


def test_one_wallet_is_enough():
    """Only `wallets` is needed; everything else has a default, and the chain comes from the address."""
    config = made()
    assert [chain.name for chain in config.chains] == ["ethereum"]
    assert config.chains[0].finality_depth == 64
    assert config.store.url.get_secret_value() == "sqlite:////srv/heistwatch.db"
    assert (config.http.host, config.http.port, config.http.token) == ("127.0.0.1", 8787, None)
    assert (config.wallets[0].budget, config.wallets[0].entity) == (1.0, "hot")
    assert config.receivers == () and config.route == {}
    assert config.place("wallets", 0, "id") == "case"


@pytest.mark.parametrize(
    ("general", "role", "own", "expected"),
    [
        (1, "hot", None, 1.0),
        (2, "cold", None, 2.0),
        (1, "personal", None, 0.1),
        (0.05, "personal", None, 0.05),
        (1, "personal", 3, 3.0),
        (1, "hot", 0.25, 0.25),
    ],
)
def test_budgets_follow_role_and_override(general, role, own, expected):
    """The general budget holds, 0.1 at most for personal wallets, and a wallet's own before both."""
    entry = wallet(role=role) if own is None else wallet(role=role, budget=own)
    config = made(budget={"false_alarms_per_wallet_month": general}, wallets=[entry])
    assert config.wallets[0].budget == expected
    assert config.wallets[0].role is Role(role)


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("6h", 21600), ("1d", 86400), ("2w", 1209600), (90, 90), ("7", 7)]
)
def test_windows_are_seconds(text, seconds):
    """A length of time is a number with a unit, or seconds."""
    trusted = {"address": PAID, "max": "1 ETH", "window": text}
    assert made(wallets=[wallet(trusted=[trusted])]).wallets[0].trusted[0].window == seconds


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (None, None)),
        ({"asset": "native"}, ("eip155:1/slip44:60", None)),
        ({"max": "123"}, ("eip155:1/slip44:60", 123)),
        ({"max": 123}, ("eip155:1/slip44:60", 123)),
        ({"max": "0.5 ETH"}, ("eip155:1/slip44:60", 5 * 10**17)),
        ({"asset": "0x" + "AB" * 20, "max": "9"}, ("eip155:1/erc20:0x" + "ab" * 20, 9)),
        ({"asset": "eip155:1/erc20:0x" + "AB" * 20}, ("eip155:1/erc20:0x" + "ab" * 20, None)),
    ],
)
def test_limits_of_a_trusted_counterparty(limits, expected):
    """A limit has an asset: the one named, the one of its symbol, else the native one."""
    trusted = made(wallets=[wallet(trusted=[{"address": PAID, **limits}])]).wallets[0].trusted[0]
    assert (trusted.asset, trusted.max_value) == expected


def test_a_rule_holds_on_every_chain_that_has_its_asset():
    """An amount in ETH bounds ETH on each chain of the wallet where it is the native asset, and nowhere else."""
    addresses = [HOT, HOT.replace("ethereum", "base"), HOT.replace("ethereum", "bsc")]
    config = made(wallets=[wallet(addresses=addresses, rules=[{"over": "2 ETH"}])])
    assert config.rules["hot"][0].limits == (("eip155:1/slip44:60", 2 * 10**18), ("eip155:8453/slip44:60", 2 * 10**18))


def test_a_chain_has_one_identity_under_all_its_names():
    """A chain may be named freely; its built-in name and CAIP-10 lead to the same chain and collide as one address."""
    chains = [{"name": "main", "chain_id": "eip155:1", "endpoints": ["https://node"]}]
    addresses = ["main:0x" + "1" * 40, "ethereum:0x" + "2" * 40, "eip155:1:0x" + "3" * 40, "0x" + "4" * 40]
    config = made(chains=chains, wallets=[wallet(addresses=addresses)])
    assert {chain for chain, _ in config.wallets[0].addresses} == {"eip155:1"}
    assert [chain.name for chain in config.chains] == ["main"]
    two = [wallet(addresses=[addresses[0]]), wallet(id="b", addresses=["ethereum:0x" + "1" * 40])]
    assert "is in two wallets" in problems_of(made, chains=chains, wallets=two)[0]


def test_private_networks_take_their_family_from_options():
    """A network that is not built in is like its family, with its own identity and address form."""
    chain = {"name": "local", "kind": "bitcoin", "chain_id": "bip122:00000000000000000000000000000001"}
    options = {"p2pkh": [111], "p2sh": [196], "hrp": "bcrt"}
    entry = wallet(addresses=["local:mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8"])
    config = made(chains=[{**chain, "options": options}], wallets=[entry])
    assert config.chains[0].network.asset == "bip122:00000000000000000000000000000001/slip44:0"
    like = made(chains=[{**chain, "options": {"like": "dogecoin-regtest", "p2sh": [5]}}], wallets=[entry])
    network = like.chains[0].network
    assert (network.params["work"], network.params["p2sh"], network.block_seconds) == ("scrypt", (5,), 60)
    found = problems_of(made, chains=[{**chain, "options": {"like": "dogcoin"}}], wallets=[entry])
    assert "did you mean 'dogecoin'" in found[0]
    found = problems_of(made, chains=[{**chain, "options": {"p2kh": [111]}}], wallets=[entry])
    assert "chains[0].options.p2kh is unknown: did you mean 'p2pkh'?" in found[0]
    found = problems_of(made, chains=[{**chain, "options": {"p2pkh": "x"}}], wallets=[entry])
    assert "chains[0].options.p2pkh is not of the form of (0,)" in found[0]


def test_a_native_asset_may_have_its_own_symbol():
    """An EVM network that is not built in gets the symbol that `assets` gives its native asset."""
    config = made(
        chains=[{"name": "cronos", "kind": "evm", "chain_id": "eip155:25"}],
        assets=[{"chain": "cronos", "asset": "native", "symbol": "CRO", "decimals": 18}],
        wallets=[wallet(addresses=["cronos:0x" + "1" * 40], rules=[{"over": "5 CRO"}])],
    )
    assert config.rules["hot"][0].limits == (("eip155:25/slip44:60", 5 * 10**18),)
    assert config.display("eip155:25/slip44:60", 10**18) == "1 CRO"


def test_amounts_of_unknown_assets_are_shown_in_base_units():
    """A native asset is shown in its unit even where the chain has no entry; an unknown token never is."""
    assert made().display("nem:mainnet/slip44:43", 1_500_000) == "1.5 XEM"
    assert made().display("eip155:1/erc20:0x" + "1" * 40, 7) == "7 base units"


@pytest.mark.parametrize("form", ["txt", "csv", "tsv", "parquet"])
def test_addresses_come_from_lists(tmp_path, form):
    """A list gives its addresses in canonical form, each once, beside those written in the file."""
    plain = ["0x28C6c06298d514Db089934071355E5743bf21d60", "0x" + "1" * 40, "0x" + "1" * 40]
    path = tmp_path / f"list.{form}"
    if form == "parquet":
        polars.DataFrame({"n": [1, 2, 3], "address": plain, "chain": ["ethereum"] * 3}).write_parquet(path)
    elif form == "txt":
        path.write_text("# deposits\n\n" + "\n".join(f"ethereum:{address}  # one" for address in plain))
    else:
        mark = "," if form == "csv" else "\t"
        path.write_text("\n".join([f"Address{mark}Chain", *(f"{address}{mark}eip155:1" for address in plain)]))
    config = written(tmp_path, yaml.safe_dump({"wallets": [wallet(addresses=[f"file:list.{form}", COLD])]}))
    assert [address for _, address in config.wallets[0].addresses] == [
        "0x28c6c06298d514db089934071355e5743bf21d60", "0x" + "1" * 40, COLD.split(":")[1]
    ]


def test_broken_lists_are_problems(tmp_path):
    """An empty list, and a file that is not what its name says, are told."""
    (tmp_path / "empty.txt").write_text("# none\n")
    (tmp_path / "no.parquet").write_text("hello")
    text = yaml.safe_dump({"wallets": [wallet(addresses=["file:empty.txt", "file:no.parquet"])]})
    first, second = problems_of(written, tmp_path, text)
    assert "has no addresses" in first and "is not Parquet" in second


def test_files_are_joined(tmp_path):
    """Lists of included files are added up, mappings joined; paths start where they are written; twice is once."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "list.txt").write_text(COLD)
    (tmp_path / "more" / "a.yaml").write_text(
        "version: 1\ninclude: ../shared.yaml\nstore: {url: 'sqlite:///a.db'}\n"
        "wallets: [{id: cold, role: cold, addresses: ['file:list.txt']}]\n"
    )
    (tmp_path / "shared.yaml").write_text("http: {token: '${TOKEN}'}\n")
    text = "version: 1\ninclude: ['more/*.yaml', shared.yaml]\nhttp: {listen: '127.0.0.1:0'}\n"
    config = written(tmp_path, text + yaml.safe_dump({"wallets": [wallet()]}), {"TOKEN": "t"})
    assert [w.id for w in config.wallets] == ["hot", "cold"]
    assert config.wallets[1].addresses == (("eip155:1", COLD.split(":")[1]),)
    assert config.store.url.get_secret_value() == f"sqlite:///{tmp_path}/more/a.db"
    assert config.http.port == 0 and config.http.token.get_secret_value() == "t"
    assert config.place("wallets", 1) == f"{tmp_path}/more/a.yaml:4"


def test_substitution_reads_variables_files_and_escapes(tmp_path):
    """`${NAME}`, `${file:PATH}` and `$${` work inside any text; numbers may come from variables."""
    (tmp_path / "secret").write_text("  from a file\n")
    text = (
        "chains: [{name: ethereum, timeout: '${SECONDS}', endpoints: ['https://h/${KEY}?a=$${b}']}]\n"
        "http: {token: '${file:secret}'}\n"
    )
    config = written(tmp_path, text + yaml.safe_dump({"wallets": [wallet()]}), {"KEY": "k", "SECONDS": "2.5"})
    assert config.chains[0].endpoints[0].url.get_secret_value() == "https://h/k?a=${b}"
    assert config.chains[0].timeout == 2.5
    assert config.http.token.get_secret_value() == "from a file"


def test_yaml_does_not_rewrite_values(tmp_path):
    """Hex, times and words such as `no` stay what was written; anchors and merge keys work."""
    text = (
        "wallets:\n  - &w\n    id: no\n    role: hot\n    addresses: [ethereum:0x" + "1" * 40 + "]\n"
        "    trusted: [{address: 'ethereum:0x" + "2" * 40 + "', from: 2024-01-01}]\n"
        "  - <<: *w\n    id: 'on'\n    addresses: [ethereum:0x" + "3" * 40 + "]\n"
        "planned: [{account: ethereum:0x" + "1" * 40 + ", kind: approval, value: 0x" + "AB" * 20 + "}]\n"
    )
    config = written(tmp_path, text)
    assert [w.id for w in config.wallets] == ["no", "on"]
    assert config.wallets[1].trusted[0].start == 1704067200
    assert config.planned[0].value == "0x" + "ab" * 20


def test_a_mapping_is_taken_literally():
    """Plain values are not substituted, their origin is the place of every problem, and files cannot be included."""
    config = made(http={"token": "${HOME}"})
    assert config.http.token.get_secret_value() == "${HOME}"
    found = problems_of(made, http={"tokn": "x"}, include=["a.yaml"])
    assert found == ["case: include works in files only", "case: unknown key 'tokn' in http: did you mean 'token'?"]


def test_further_detectors_may_be_set():
    """Names of detectors that a caller brings are known, whatever their case; others are not."""
    mapping = {"wallets": [wallet(detectors={"mine": {"level": 2}, "hw-1": {}})]}
    config = config_from_mapping(mapping, Path(), "case", detectors=["MINE"])
    assert config.detectors["hot"] == {"MINE": {"level": 2}, "HW-1": {}}
    assert "unknown detector 'mine'" in problems_of(config_from_mapping, mapping, Path(), "case")[0]


def test_what_people_should_notice_is_a_warning():
    """Receivers that get nothing, an open interface without a token, and patterns without files are warnings."""
    channel = {"type": "console"}
    receivers = [{"name": "a", "channels": [channel]}, {"name": "b", "channels": [channel]}]
    config = made(receivers=receivers, http={"listen": "0.0.0.0:80"}, labels=["none/*.yaml"])
    text = "\n".join(map(str, config.warnings))
    assert "'a' gets everything" in text and "no http.token" in text and "labels[0] matches no file" in text
    assert config.route == {"receiver": "a"}
    routed = made(receivers=receivers, route={"receiver": "a"})
    assert [str(w) for w in routed.warnings] == ["case: receiver 'b' is in no route: it gets nothing"]


@pytest.mark.parametrize(
    ("http", "warned", "refused"),
    [
        ({"token": "k4n4ry"}, "fewer than 16 characters", ""),
        ({"token": "k4n4ry" * 4, "link_secret": ["k4n4ry" * 3, "k4n4ry"]}, "fewer than 16 characters", ""),
        ({"token": "k4n4ry" * 4, "link_secret": "k4n4ry" * 3, "link_hours": 8760}, "", ""),
        ({"token": ""}, "", "must not be blank"),
        ({"token": "k4n4ry" * 4, "link_secret": ["k4n4ry" * 4, "  "]}, "", "must not be blank"),
        ({"link_hours": 1e308}, "", "http.link_hours is over 8760, a year"),
    ],
)
def test_secrets_of_the_http_interface(http, warned, refused):
    """Blank ones are refused, short ones warned of, and none is quoted; no link holds for ever."""
    sections = {"receivers": [{"name": "a", "channels": [{"type": "console"}]}], "route": {"receiver": "a"}}
    if refused:
        (text,) = problems_of(made, **sections, http=http)
        assert refused in text and "k4n4ry" not in text
        return
    text = "\n".join(map(str, made(**sections, http=http).warnings))
    assert (warned in text) if warned else (text == "")
    assert "k4n4ry" not in text


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"prices": {"source": "file"}}, "prices.path is missing: source file needs it"),
        ({"store": {"url": "sqlite://"}}, "store.url names no file"),
        ({"store": {"url": "sqlite:///:memory:"}}, "store.url names no file"),
        ({"store": {"url": f"redis://:{CANARY}@host:port/0"}}, "store.url: "),
        ({"labels": ["none.yaml"]}, "file /srv/none.yaml does not exist"),
        ({"http": {"listen": "127.0.0.1:99999"}}, "http.listen is not host:port"),
        ({"receivers": [{"name": "a", "channels": [{}]}]}, "receivers[0].channels[0].type is missing"),
        ({"receivers": [{"name": "a", "channels": [{"type": "console"}]}] * 2}, "is given twice"),
        ({"route": {"routes": []}}, "route.receiver is missing"),
    ],
)
def test_sections_are_checked(sections, message):
    """Each section refuses what could not work later."""
    found = problems_of(made, **sections)
    assert any(message in line for line in found), found
    assert CANARY not in "".join(found)


@pytest.mark.parametrize(
    ("url", "kind"), [("redis://h:1/0", "redis"), ("rediss://h/0", "redis"), ("unix:///run/r.sock?db=0", "redis"),
                      ("memory://", "memory"), ("sqlite:////abs/a.db", "sqlite"), ("sqlite:///a.db", "sqlite")]
)  # fmt: skip
def test_every_kind_of_store_is_known(url, kind):
    """A store's URL tells its kind, and only a relative file changes: it becomes absolute."""
    store = made(store={"url": url}).store
    assert store.kind == kind
    assert store.url.get_secret_value() == url.replace("///a.db", "////srv/a.db")


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_secret_is_shown():
    """Neither the printable form nor any repr nor the summary has a secret in it, and the secrets are really there."""
    extra = {"type": "webhook", "url": f"https://{CANARY}", "headers": {"X-Key": CANARY}, "list": [CANARY]}
    config = made(
        chains=[{"name": "ethereum", "endpoints": [f"https://{CANARY}"], "options": {"password": CANARY}}],
        http={"token": CANARY},
        store={"url": f"redis://:{CANARY}@127.0.0.1/0"},
        prices={"source": "http", "url": f"https://{CANARY}", "ids": {"ethereum:native": "ethereum"}},
        receivers=[{"name": "soc", "channels": [extra]}],
        route={"receiver": "soc"},
    )
    shown = json.dumps(config.public()) + repr(config) + str(config) + "\n".join(config.summary())
    assert CANARY not in shown
    assert config.public()["chains"][0]["endpoints"] == ["<secret>"]
    assert config.public()["receivers"][0]["channels"][0]["headers"] == {"X-Key": "<secret>"}
    assert config.receivers[0].channels[0].plain() == extra
    assert CANARY not in repr(load_config(EXAMPLE, ENVIRON))


@pytest.mark.parametrize(
    "text",
    [
        "include: ['${SECRET}']\n", "include: ['${SECRET}/*']\n",
        "labels: ['${SECRET}']\n", "http: {listen: '${SECRET}'}\n",
        "wallets: [{id: a, role: '${SECRET}', addresses: ['file:${SECRET}', '${SECRET}', 'ethereum:${SECRET}']}]\n",
        "wallets: [{id: '${SECRET}', role: hot, addresses: []}, {id: '${SECRET}', role: hot, budget: '${SECRET}'}]\n",
        "receivers: [{name: '${SECRET}', channels: []}]\nroute: {receiver: other}\n",
        "route: {receiver: '${SECRET}', match: {severity: '${SECRET}'}}\n",
        "chains: [{name: '${SECRET}'}, {name: x, kind: '${SECRET}', chain_id: '${SECRET}'}]\n",
        "assets: [{chain: '${SECRET}', asset: '${SECRET}', symbol: '${SECRET}', decimals: '${SECRET}'}]\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("secret", [CANARY, f"https://{CANARY}/x", f"{CANARY} ETH", "0x" + "c0ffee" * 7])
def test_a_variable_in_the_wrong_place_is_not_told(tmp_path, text, secret):
    """Whatever value a variable turns out to have, messages show its name at most."""
    found = "\n".join(problems_of(written, tmp_path, text, {"SECRET": secret}))
    assert CANARY not in found
    assert "c0ffee" not in found.lower()


def test_a_configuration_can_be_sent_to_another_process():
    """A configuration survives pickling, with its secrets and places."""
    config = load_config(EXAMPLE, ENVIRON)
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert again.place("wallets", 1) == config.place("wallets", 1)


def test_the_summary_is_for_people():
    """One line says what a wallet is, another what a chain is."""
    config = made(wallets=[wallet(addresses=[HOT, COLD], rules=[{"outflow": "any"}])])
    assert "wallet hot (hot): 2 addresses on ethereum, budget 1 a month, 1 rule" in config.summary()
    assert "chain ethereum (evm, eip155:1): no endpoint, history only" in config.summary()


# --- schema and template ----------------------------------------------------------------------------------------------


def test_the_schema_describes_every_property():
    """The JSON Schema is complete: a dialect, an identity, a description on every property and object."""
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == "heistwatch/config/1"
    objects = [schema, *(d for d in schema["$defs"].values() if d.get("type") == "object")]
    assert len(objects) > 12
    for part in objects:
        assert part["description"]
        for name, value in part["properties"].items():
            assert value.get("description"), name
    assert set(schema["properties"]) == {field.alias or name for name, field in ConfigFile.model_fields.items()}
    assert schema["$defs"]["StoreEntry"]["properties"]["url"]["default"] == "sqlite:///heistwatch.db"
    assert schema["$defs"]["ChainEntry"]["properties"]["timeout"]["exclusiveMinimum"] == 0
    assert "*****" not in json.dumps(schema)


def test_every_network_has_a_placeholder():
    """The placeholder of each built-in network is valid and canonical there."""
    for network in NETWORKS:
        assert canonical(network, PLACEHOLDERS[network.name]) == PLACEHOLDERS[network.name]


@pytest.mark.parametrize("network", [None, *(network.name for network in NETWORKS)])
def test_the_starting_configuration_loads_and_asks_for_an_address(tmp_path, network):
    """Without answers it is valid, and says clearly that its address must be replaced."""
    text = template({"network": network})
    assert "REPLACE THIS PLACEHOLDER" in text
    config = written(tmp_path, text)
    (warning,) = config.warnings
    assert "still the placeholder" in str(warning)
    line = int(warning.where.rsplit(":", 1)[1])
    assert PLACEHOLDERS[network or "ethereum"] in text.splitlines()[line - 1]
    assert f"warning: {warning}" in config.summary()


def test_the_starting_configuration_takes_answers(tmp_path):
    """Address, network, role and webhook arrive as they were given, whatever characters they have."""
    url = 'https://hooks.test/${x}?a="b"#c: d'
    answers = {
        "address": "bitcoin:34xp4vRoCGJym3xR7yCVPFHoCNxv4Twseo", "role": "personal", "id": "mine: 'all'",
        "webhook": url, "secret": "${WEBHOOK_SECRET}", "endpoint": "http://127.0.0.1:8332",
    }
    config = written(tmp_path, template(answers), {"WEBHOOK_SECRET": "s"})
    assert config.warnings == ()
    assert config.wallets[0].id == "mine: 'all'"
    assert config.wallets[0].role is Role.PERSONAL
    assert config.wallets[0].addresses[0][1] == "34xp4vRoCGJym3xR7yCVPFHoCNxv4Twseo"
    assert config.receivers[0].channels[0].plain() == {"type": "webhook", "url": url, "secret": "s"}
    assert config.chain("bitcoin").endpoints[0].url.get_secret_value() == "http://127.0.0.1:8332"


def test_the_comments_of_the_starting_configuration_work(tmp_path):
    """What is commented out is valid too once the marks and the dots are gone."""
    text = template({})
    text = text.replace("    #   - ", "      - ").replace("ethereum:...", PAID)
    for key in ("endpoints:", "token:", "trusted:", "rules:"):
        text = text.replace(f"# {key}", key)
    head, mark, tail = text.partition("# receivers:")
    text = head + "\n".join(line.removeprefix("# ") for line in (mark + tail).splitlines())
    names = ("ETHEREUM_RPC", "HEISTWATCH_TOKEN", "WEBHOOK_URL", "HEARTBEAT_URL")
    secrets = {
        "WEBHOOK_SECRET": "whsec_" + "YWJj" * 10, "PAGERDUTY_KEY": "0a" * 16, "TELEGRAM_TOKEN": f"123:{'a' * 35}",
    }  # fmt: skip
    config = written(tmp_path, text, dict.fromkeys(names, "https://a") | secrets)
    assert len(config.wallets[0].trusted) == 1 and len(config.rules["my-hot-wallet"]) == 2
    assert config.http.token is not None and weaknesses(config, checked(config)) == []
    assert [receiver.name for receiver in config.receivers] == ["main", "on-call"]
    assert {"receiver", "repeat_interval", "escalation", "routes"} == config.route.keys()
    told = config.alerting
    assert told.times and told.inhibit and told.escalations and told.drill and told.heartbeat


# --- everything else --------------------------------------------------------------------------------------------------

VALID = {
    "version": 1,
    "budget": {"false_alarms_per_wallet_month": 1},
    "chains": [{"name": "ethereum", "endpoints": ["${SECRET}", f"https://{CANARY}/b"], "options": {"key": CANARY}}],
    "assets": [{"chain": "ethereum", "asset": "0x" + "a" * 40, "symbol": "USDC", "decimals": 6}],
    "wallets": [
        wallet(trusted=[PAID, {"address": PAID, "max": "1 ETH", "window": "1d", "from": "2024-01-01"}]),
        {"id": "cold", "role": "cold", "addresses": [COLD], "rules": [{"outflow": "any"}, {"over": "5 USDC"}]},
    ],
    "planned": [{"account": HOT, "kind": "owner_change", "value": PAID}],
    "labels": ["none/*.yaml"],
    "prices": {"source": "http", "url": f"https://{CANARY}/prices", "ids": {"ethereum:native": "ether"}},
    "store": {"url": f"redis://:{CANARY}@127.0.0.1/0"},
    "http": {"listen": "127.0.0.1:8787", "token": "${SECRET}"},
    "receivers": [{"name": "soc", "channels": [{"type": "webhook", "url": CANARY, "secret": "${SECRET}"}]}],
    "route": {"receiver": "soc", "routes": [{"match": {"severity": ["high"]}, "receiver": "soc", "continue": True}]},
}
JUNK = [
    None, True, 3, -1.5, 10**400, float("inf"), "", "text", "${SECRET}", "${", "a:b:c", "file:", "file:/", "~", "[",
    "a" * 5000, "a\0b", "**.yaml", "../..", "\u2028", "9" * 5000, "x" * 41 + ":y",
    [], {}, [[]], [None], {"a": {}}, {"": 1},
]  # fmt: skip


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutate(value, kind, number, junk):
    """One random change: a value replaced, dropped or repeated, a key renamed."""
    *path, key = sorted((p for p in places(value) if p), key=repr)[number % (len(list(places(value))) - 1)]
    parent = value
    for step in path:
        parent = parent[step]
    if kind == "replace":
        parent[key] = copy.deepcopy(junk)
    elif kind == "drop":
        del parent[key]
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    else:
        parent[f"{key}x"] = parent.pop(key)


MUTATIONS = st.lists(
    st.tuples(st.sampled_from(["replace", "drop", "other"]), st.integers(0, 10_000), st.sampled_from(JUNK)),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(derandomize=True, max_examples=400, deadline=None)
@given(mutations=MUTATIONS, as_file=st.booleans())
def test_any_input_loads_or_is_refused_with_a_place(tmp_path_factory, mutations, as_file):
    """A damaged configuration loads or raises ConfigError with places: no other error, and never a secret."""
    value = copy.deepcopy(VALID)
    for kind, number, junk in mutations:
        if len(list(places(value))) > 1:
            mutate(value, kind, number, junk)
    folder = tmp_path_factory.getbasetemp()
    try:
        if as_file:
            text = yaml.safe_dump(value, allow_unicode=True)
            config = written(folder, text, {"SECRET": f"https://{CANARY}"}, name="mutated.yaml")
        else:
            config = config_from_mapping(value, folder, "mutated")
    except ConfigError as error:
        assert error.problems
        assert all("mutated" in problem.where for problem in error.problems), error
        assert CANARY not in str(error)
    else:
        assert config.wallets
        json.dumps(config.public())


def test_the_unharmed_configuration_loads(tmp_path):
    """What the damage starts from is valid, so that refusals are due to the damage."""
    assert len(written(tmp_path, yaml.safe_dump(VALID), {"SECRET": f"https://{CANARY}"}).wallets) == 2


def test_ten_thousand_wallets_load_in_seconds(tmp_path):
    """A large file is read within seconds (the bound is generous: machines differ)."""
    lines = ["wallets:"]
    for n in range(10_000):
        lines += [
            f"  - id: wallet-{n}", f"    entity: entity-{n % 50}", "    role: deposit",
            f'    addresses: ["ethereum:0x{n:040x}", "base:0x{n:040x}"]',
            f'    trusted: [{{address: "{PAID}", max: "100 ETH", window: 1d}}]',
        ]  # fmt: skip
    started = time.perf_counter()
    config = written(tmp_path, "\n".join(lines))
    assert len(config.wallets) == 10_000
    assert len(config.summary()) < 100
    assert time.perf_counter() - started < 30


def test_what_outputs_print_is_accepted_as_an_address():
    """``chain:address`` with the CAIP-2 chain, as alerts and reports print it, can be pasted back."""
    address = "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"
    config = config_from_mapping(
        {"version": 1, "wallets": [{"id": "w", "role": "hot", "addresses": [f"nem:mainnet:{address}"]}]},
        Path(),
        "case",
    )
    assert config.wallets[0].addresses == (("nem:mainnet", address),)


def test_settings_that_change_nothing_yet_are_said():
    """A rule that is checked and not applied must not look like protection."""
    wallet = {"id": "w", "role": "hot", "addresses": ["ethereum:0x" + "1" * 40], "rules": [{"outflow": "any"}]}
    wallet["detectors"] = {"hw-1": {"weight": 0}, "GUARD": {"to_one": 0.9}}
    config = config_from_mapping({"version": 1, "wallets": [wallet]}, Path(), "case")
    said = [line for line in config.summary() if line.startswith("not applied by this version: ")]
    assert said == []  # rules and settings of detectors are applied
    assert config.detectors == {"w": {"HW-1": {"weight": 0}, "GUARD": {"to_one": 0.9}}}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HW-1": {"wieght": 1}}, "wieght is unknown, expected one of enabled, weight, familiar"),
        ({"HW-1": {"weight": 11}}, "weight is 11, expected 0 to 10"),
        ({"GUARD": {"enabled": "no"}}, "enabled is 'no', expected true or false"),
        ({"GUARD": {"to_one": True}}, "to_one is True, expected a number"),
        ({"SWEEP": 3}, "expected a mapping with enabled, weight, most"),
    ],
)
def test_detector_settings_that_cannot_be_are_named(settings, said):
    """Each wrong setting is one problem, with the place of the detector and what it may be."""
    (problem,) = problems_of(made, wallets=[wallet(detectors=settings)])
    assert problem == f"case: wallets[0].detectors.{next(iter(settings))}: {said}"


def test_paths_of_channels_start_at_the_folder_of_the_file():
    """Relative ones; absolute ones, programs of the search path and everything else stay as they are."""
    channels = [
        {"type": "file", "path": "alerts.ndjson"},
        {"type": "file", "path": "/var/log/alerts.ndjson"},
        {"type": "exec", "command": ["./page.sh", "./{id}"]},
        {"type": "exec", "command": ["page.sh", "/x"]},
        {"type": "webhook", "url": "https://x.example/path"},
    ]
    config = made(receivers=[{"name": "soc", "channels": channels}], route={"receiver": "soc"})
    plain = [channel.plain() for channel in config.receivers[0].channels]
    assert [options.get("path") for options in plain[:2]] == ["/srv/alerts.ndjson", "/var/log/alerts.ndjson"]
    assert [options["command"] for options in plain[2:4]] == [["/srv/page.sh", "./{id}"], ["page.sh", "/x"]]
    assert plain[4]["url"] == "https://x.example/path"
