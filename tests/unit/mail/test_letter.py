"""What the mail says, and that nothing from the directory can make it say something else."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.causes import held_alert
from pipeline.model import Alert, Severity
from stages.mail.letter import (
    MAX_ALERTS,
    MAX_CHARACTERS,
    MAX_LINES,
    compose,
    message_id_of,
    plain_host_name,
    wire_form,
)
from stages.mail.wording import header_text, shown

HELD = held_alert(digest="ab12", what="leavers", count=300, limit="5%", clusters=(("left Sales", 300),))
SEATS = Alert(key="seats", severity=Severity.WARNING, title="no free seat", lines=("ann",), remedy="buy some")
HEADERS = [
    "Subject",
    "From",
    "To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
]

# Any text a directory can hold, weighted towards what breaks mails.
hostile = st.one_of(
    st.text(max_size=80),
    st.text(
        alphabet=st.sampled_from("\r\n\0\t <>&\"'=?:_.utf8-qB\u202e\u2066\u2028\x85\ud800é日"), max_size=80
    ),
    st.sampled_from(
        [
            "x\r\nBcc: evil@example.test",
            "x\n\n<script>alert(1)</script>",
            "=?utf-8?q?x=0D=0ABcc:_evil@example.test?=",
            "=?utf-8?b?DQpCY2M6IGV2aWxAZXhhbXBsZS50ZXN0?=",
            "a" * 5000,
            "{{ 7 * 7 }}{% raw %}",
        ]
    ),
)


def written(
    *alerts: Alert, over: tuple[str, ...] = (), simulated: bool = False, **fields: object
) -> EmailMessage:
    """The message as a mail program reads it from the wire."""
    options = {"message_id": "<1@example.test>", "host_name": "host.example.test"} | fields
    message = compose(
        alerts,
        over=over,
        simulated=simulated,
        sender="connector@example.test",
        recipients=("admin@example.test", "second@example.test"),
        at=datetime(2026, 11, 23, 9, 0, tzinfo=UTC),
        **options,
    )
    received = email.message_from_bytes(wire_form(message), policy=email.policy.default)
    assert isinstance(received, EmailMessage)
    return received


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[object] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.found.append(("declaration", decl))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_subject_says_how_bad_and_what() -> None:
    assert written(HELD)["Subject"] == "[Dropbox AD connector] CRITICAL: 300 leavers held by the brake"


def test_the_subject_tells_the_worst_and_how_many_more() -> None:
    expected = "[Dropbox AD connector] CRITICAL: 300 leavers held by the brake (and 1 more)"
    assert written(SEATS, HELD)["Subject"] == expected


def test_both_parts_say_what_happened_to_whom_what_to_do_and_how_to_see_more() -> None:
    message = written(SEATS)
    for text in (part(message, "plain"), Tags(part(message, "html")).text):
        for expected in (
            "no free seat",
            "ann",
            "buy some",
            "ad-connector check dropbox",
            "host.example.test",
        ):
            assert expected in text


def test_simulation_is_marked_in_subject_and_both_parts() -> None:
    message = written(HELD, simulated=True)
    assert message["Subject"].startswith("[Dropbox AD connector] SIMULATION CRITICAL: ")
    for subtype in ("plain", "html"):
        assert "SIMULATION" in part(message, subtype)
    assert "SIMULATION" not in part(written(HELD), "plain")


def test_what_is_over_is_an_all_clear() -> None:
    message = written(over=("no free seat",))
    assert message["Subject"] == "[Dropbox AD connector] OVER: no free seat"
    assert "OVER, nothing to do:\n  - no free seat\n" in part(message, "plain")
    assert "no free seat" in part(message, "html")


def test_a_mail_about_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an alert"):
        written()


def test_long_lists_are_cut_and_say_how_many_more() -> None:
    alert = Alert(
        key="k", severity=Severity.NOTICE, title="t", lines=tuple(f"p{n}" for n in range(MAX_LINES + 7))
    )
    text = part(written(*[alert] * (MAX_ALERTS + 3), over=("x",) * (MAX_LINES + 2)), "plain")
    assert text.count("  - and 7 more\n") == MAX_ALERTS
    assert "And 3 more causes: ad-connector status" in text
    assert "  - and 2 more\n" in text
    assert f"p{MAX_LINES}\n" not in text


def test_long_lines_are_cut() -> None:
    alert = Alert(key="k", severity=Severity.NOTICE, title="t" * 10_000, lines=("x" * 10_000,))
    message = written(alert)
    assert "x" * (MAX_CHARACTERS - 1) + "…" in part(message, "plain")
    assert len(message["Subject"]) < 200
    assert message["Subject"].startswith("[")
    assert max(map(len, wire_form(message).splitlines())) <= 998


@pytest.mark.parametrize("given_id", ["<7.abc@example.test>", "<20261123.1@a.b.c.example.test>"])
def test_a_message_id_is_taken_as_given(given_id: str) -> None:
    assert written(SEATS, message_id=given_id)["Message-ID"] == given_id


@pytest.mark.parametrize("odd", ["7", "a b", "<x@y>\r\nBcc: z", "ü", "<" + "a" * 300 + "@b>", "\ud800"])
def test_an_odd_message_id_becomes_a_stable_one(odd: str) -> None:
    first = written(SEATS, message_id=odd)["Message-ID"]
    assert first == written(HELD, message_id=odd)["Message-ID"]
    assert first != written(SEATS, message_id=odd + "x")["Message-ID"]
    assert message_id_of(first, "other") == first


@pytest.mark.parametrize("odd", ["", "a b", "ü", "a\r\nRSET", "-", "a" * 300])
def test_an_odd_host_name_becomes_localhost(odd: str) -> None:
    assert plain_host_name(odd) == "localhost"


@settings(deadline=None)
@given(title=hostile, line=hostile, ended=hostile, message_id=hostile, host_name=hostile)
def test_no_text_adds_a_header_or_a_part(
    title: str, line: str, ended: str, message_id: str, host_name: str
) -> None:
    alert = Alert(key=line, severity=Severity.WARNING, title=title, lines=(line,), remedy=line)
    for message in (
        written(alert, over=(ended,), message_id=message_id, host_name=host_name),
        written(over=(ended,), message_id=message_id, host_name=host_name),
    ):
        assert list(message.keys()) == HEADERS
        assert not message.defects
        assert message["From"] == "Dropbox AD connector <connector@example.test>"
        assert message["To"] == "admin@example.test, second@example.test"
        # A subject of encoded words may still begin on the second line.
        assert message["Subject"].lstrip().startswith("[Dropbox AD connector] ")
        assert "\n" not in message["Subject"]
        assert [one.get_content_type() for one in message.walk()] == [
            "multipart/alternative",
            "text/plain",
            "text/html",
        ]


@settings(deadline=None)
@given(title=hostile, line=hostile, remedy=hostile, ended=hostile)
def test_no_text_becomes_markup(title: str, line: str, remedy: str, ended: str) -> None:
    def html(*texts: str) -> Tags:
        title, line, remedy, ended = texts
        alert = Alert(key="k", severity=Severity.WARNING, title=title, lines=(line,), remedy=remedy)
        return Tags(part(written(alert, over=(ended,)), "html"))

    remedy += "."  # an empty remedy has no paragraph
    hostile_tags, plain_tags = html(title, line, remedy, ended), html("t", "l", "r", "o")
    assert hostile_tags.found == plain_tags.found
    assert shown(line, MAX_CHARACTERS) in hostile_tags.text


@settings(deadline=None)
@given(line=hostile)
def test_no_text_adds_a_line(line: str) -> None:
    alert = Alert(key="k", severity=Severity.WARNING, title=line, lines=(line,), remedy=line + ".")
    plain = Alert(key="k", severity=Severity.WARNING, title="t", lines=("l",), remedy="r")
    text, expected = part(written(alert), "plain"), part(written(plain), "plain")
    assert len(text.splitlines()) == len(expected.splitlines())


@given(value=st.text(), limit=st.integers(min_value=2, max_value=50))
def test_shown_text_is_one_short_line_without_controls(value: str, limit: int) -> None:
    for text in (shown(value, limit), header_text(value, limit)):
        assert len(text) <= limit
        assert len(text.splitlines()) <= 1
        assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in text)
        text.encode()
    assert "=?" not in header_text(value, limit)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Ann\u202egnp.exe", "Ann[U+202E]gnp.exe"),
        ("\u2066a\u2069\u200f", "[U+2066]a[U+2069][U+200F]"),
        ("a\u2028b\x85c\x00d", "a b c d"),
        ("\ud800", "\ufffd"),
        ("क्\u200dष", "क्\u200dष"),
        ("Ann" + " " * 9000 + "Bob", "Ann…"),
        ("Zoë 日本", "Zoë 日本"),
    ],
)
def test_what_hides_or_reorders_is_made_visible(value: str, expected: str) -> None:
    assert shown(value, 100) == expected


@pytest.mark.parametrize(
    "title", ["300 leavers held by the brake \u2013 Zo\u00eb", "\u00e4 \u00f6 \u00fc", "\u2603 a" * 20]
)
def test_a_subject_of_other_letters_keeps_its_spaces(title: str) -> None:
    """Encoded word by word it lost the space between two of them."""
    seats = replace(SEATS, title=title)
    assert written(seats)["Subject"] == f"[Dropbox AD connector] WARNING: {header_text(title, 120)}"
