"""The owner's templates: their text is markup, what is put in is not; none of them can lose an alarm or reach out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape

import pytest

from alerts.message import Fact, message_of
from alerts.template import Templates
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind

START = 1_700_000_000.0


def test_the_text_is_markup_and_the_values_are_not(alert: Callable[..., Alert]) -> None:
    """Values are escaped for the channel, loops and conditions work, invisible characters are gone."""
    own = Templates(
        {
            "title": "<b>{{ severity }}</b>\n {{ entity }}",
            "body": "{% for line in lines %}<p>{{ line }}</p>{% endfor %}{{ 'DRILL' if drill }}{{ message.at }}",
        },
        escape,
    )
    message = replace(message_of(alert(), START), entity="<i>Ex</i>\u202e", lines=("a & b", "<script>"))
    assert own.title(message) == "<b>critical</b> &lt;i&gt;Ex&lt;/i&gt;"
    assert own.body(message) == "<p>a &amp; b</p><p>&lt;script&gt;</p>2023-11-14T22:13:20Z"


def test_without_templates_a_channel_writes_its_own(alert: Callable[..., Alert]) -> None:
    """The title is the message's, escaped; there is no body."""
    own = Templates({}, escape)
    message = replace(message_of(alert(), START), title="A < B")
    assert own.title(message) == "A &lt; B" and own.body(message) is None


def test_a_drill_is_called_one_whatever_a_template_says(alert: Callable[..., Alert]) -> None:
    """Its title cannot leave that out."""
    own = Templates({"title": "{{ entity }}"}, escape)
    assert own.title(message_of(alert(kind=AlertKind.DRILL), START)) == "DRILL: Example Exchange"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ titl }}", "template: body: 'titl' is undefined"),
        ("{% for", "template: body: unexpected"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ lines.__class__ }}", "unsafe"),
        ("{{ cycler.__init__.__globals__ }}", "unsafe"),
        ("{{ 1 // 0 }}", "cannot be filled in: ZeroDivisionError"),
        ("{% include 'x' %}", "template: body: it cannot be filled in: TypeError"),
    ],
)
def test_a_wrong_template_is_said_at_the_start(text: str, says: str) -> None:
    """Syntax, names that no message has, ways out of the sandbox."""
    with pytest.raises(ConfigError, match=says):
        Templates({"body": text}, escape)


def test_an_unknown_part_is_named() -> None:
    """With what was probably meant."""
    with pytest.raises(ConfigError, match="unknown part 'titel': did you mean 'title'"):
        Templates({"titel": "x"}, escape)


def test_a_template_that_fails_on_one_message_loses_nothing(alert: Callable[..., Alert]) -> None:
    """It held for the sample and fails here: the message comes in a plain form, with a note."""
    own = Templates({"title": "{{ facts[1].value }}", "body": "{{ actions[0].url }}"}, escape)
    bare = replace(message_of(alert(), START), facts=(), actions=(), title="A & B", lines=("one", "two"))
    assert own.title(bare) == "A &amp; B"
    assert own.body(bare) == "one\ntwo\n(the body&#x27;s own template failed and is left out)"
    told = own.body(replace(bare, facts=(Fact("to", "0x<", "https://explorer.example/0x"),))) or ""
    assert told.startswith("to: 0x&lt; https://explorer.example/0x\none\n")


def test_results_have_a_limit(alert: Callable[..., Alert]) -> None:
    """A template that writes without end is left out, with a note; cut, its markup could break."""
    own = Templates({"body": "{% for n in range(999) %}<b>{{ 'x' * 100 }}</b>{% endfor %}"}, escape)
    body = own.body(message_of(alert(), START))
    assert body is not None and len(body) < 20_100 and "left out" in body and "<b" not in body


@pytest.mark.parametrize(
    "text",
    [
        '{{ "x" * 10**9 }}', "{{ 10**8 * title }}", "{{ 9 ** 1000000000 }}",
        '{{ "%1000000000d" % 3 }}', '{{ "%*d" % (9, 3) }}',
        "{% for a in range(10**6) %}{% endfor %}", "{{ lipsum(n=10**6) }}",
    ],
)  # fmt: skip
def test_what_takes_for_ever_is_refused(text: str) -> None:
    """At the start, and at once; what is small is not."""
    with pytest.raises(ConfigError, match="template: body: "):
        Templates({"body": text}, str)
    small = '{% for n in range(3) %}{{ "-" * n }}{{ n * 2 }}{{ 2 ** n }}{{ "%02d" % n }} {% endfor %}'
    assert Templates({"body": small}, str)
