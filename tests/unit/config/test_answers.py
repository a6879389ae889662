"""What the set-up asks next, and what an answer means: pure, without any terminal."""

from typing import Any

import pytest

from config.answers import current, flat, meaning, reference, with_changes, without, worth_writing
from config.questions import QUESTIONS, Kind, Probe, Question, Topic, next_question, question_for
from config.reference import keys
from config.settings import Settings

CONTEXT: dict[str, Any] = {"environ": {}, "rules_later": True}
DEFAULTS = {f"{key.section}.{key.name}".lstrip("."): key.default for key in keys()}


def _settings(**sections: Any) -> Settings:
    return Settings.model_validate(sections, context=CONTEXT)


def _asked(settings: Settings, topic: Topic | None = None, given: tuple[str, ...] = ()) -> list[str]:
    keys_asked, last = [], None
    while last := next_question(settings, after=last, topic=topic, given=given):
        keys_asked.append(last.key)
    return keys_asked


def _question(key: str) -> Question:
    found = question_for(key)
    assert found is not None
    return found


def test_the_order_is_that_of_the_help_article() -> None:
    order = _asked(_settings(groups={"mode": "separate"}, dropbox={"app_key": "k"}, mail={"enabled": True}))
    article = [
        "dropbox.refresh_token",
        "simulation",
        "users.sync_group",
        "users.email_attribute",
        "users.manage_existing",
        "groups.mode",
        "groups.sync_group",
        "log.path",
        "mail.enabled",
    ]
    assert [key for key in order if key in article and key != "dropbox.refresh_token"] == article[1:]
    assert order.index("dropbox.refresh_token") < order.index("simulation")


def test_only_what_the_answers_give_a_reason_for_is_asked() -> None:
    assert "groups.sync_group" not in _asked(_settings())
    assert "groups.sync_group" in _asked(_settings(groups={"mode": "separate"}))
    assert _asked(_settings(), Topic.MAIL) == ["mail.enabled"]
    assert "mail.security" not in _asked(_settings(mail={"enabled": True}), Topic.MAIL)
    assert "mail.security" in _asked(_settings(mail={"enabled": True, "port": 2525}), Topic.MAIL)
    assert "mail.password" in _asked(_settings(mail={"enabled": True, "username": "x"}), Topic.MAIL)
    kerberos = _asked(_settings(directory={"auth": "kerberos"}), Topic.DIRECTORY)
    assert "directory.password" not in kerberos
    assert kerberos[-1] == "directory.ccache"
    assert _asked(_settings(dropbox={"access_token": "env:T"}), Topic.DROPBOX) == []


def test_what_the_environment_sets_is_not_asked() -> None:
    assert "users.sync_group" not in _asked(_settings(), given=("users.sync_group",))


def test_every_question_is_about_a_key_that_exists_and_has_one_sentence() -> None:
    for question in QUESTIONS:
        assert question.key in DEFAULTS
        assert question.sentence.endswith(".")
        assert ". " not in question.sentence
    assert {question.probe for question in QUESTIONS} == set(Probe)
    assert list(dict.fromkeys(question.topic for question in QUESTIONS)) == list(Topic)


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        ("simulation", "Yes", {"simulation": True}),
        ("simulation", "n", {"simulation": False}),
        ("groups.mode", "sep", {"groups.mode": "separate"}),
        ("groups.mode", "2", {"groups.mode": "same"}),
        ("mail.port", " 25 ", {"mail.port": 25}),
        ("mail.recipients", "a@b.c, d@e.f,", {"mail.recipients": ["a@b.c", "d@e.f"]}),
        ("directory.ca_file", "-", {"directory.ca_file": ""}),
        ("users.sync_group", " CN=A,DC=b ", {"users.sync_group": "CN=A,DC=b"}),
    ],
)
def test_what_answers_mean(key: str, text: str, found: dict[str, Any]) -> None:
    assert meaning(_question(key), text) == found


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("simulation", ""),
        ("simulation", "maybe"),
        ("groups.mode", "s"),  # same or separate?
        ("groups.mode", "4"),
        ("mail.port", "²"),
        ("mail.port", "-1"),
        ("users.sync_group", "-"),
        ("directory.servers", ""),
        ("directory.servers", "dc1.example.test, dc2.example.test"),
        ("directory.servers", "ldap://a, ldaps://b"),
    ],
)
def test_what_means_nothing(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"answer|write"):
        meaning(_question(key), text)


def test_servers_or_a_domain_and_never_a_password_in_the_clear() -> None:
    question = _question("directory.servers")
    tls = meaning(question, "ldaps://a,ldaps://b")
    assert tls == {
        "directory.servers": ["ldaps://a", "ldaps://b"],
        "directory.domain": "",
        "directory.start_tls": False,
    }
    assert meaning(question, "ldap://a")["directory.start_tls"] is True
    assert meaning(question, "example.test")["directory.domain"] == "example.test"
    assert question_for("directory.domain") is question


@pytest.mark.parametrize(
    "typed",
    [
        "Tr0ub4dor",
        "Tr0ub4dor&3",
        "correct horse.battery staple",
        "pass_word.example",
        "hunter2.",
        "a..b",
        "1.2",
        "x.1234",
    ],
)
def test_what_does_not_look_like_a_domain_is_not_asked_of_dns(typed: str) -> None:
    """It may be a password that was typed into the wrong line."""
    with pytest.raises(ValueError, match="DNS name") as refused:
        meaning(_question("directory.servers"), typed)
    assert typed not in str(refused.value)


def test_where_secrets_lie() -> None:
    assert reference("file", "directory.password") == "file:directory.password"
    assert reference("f", "dropbox.refresh_token") == "file:dropbox.token"
    assert reference("keyring", "mail.password") == "keyring:ad-connector/mail.password"
    assert reference("env", "mail.password", " SMTP_PASS ") == "env:SMTP_PASS"
    assert reference("4", "mail.password") == "systemd:mail-password"
    for place in ("env", "systemd"):
        with pytest.raises(ValueError, match="has to be stored"):
            reference(place, "dropbox.refresh_token")


def test_enter_answers_what_stands_in_brackets() -> None:
    values = {"simulation": False, "directory": {"domain": "example.test"}}
    for question in QUESTIONS:
        if question.kind in (Kind.SECRET, Kind.TOKEN):
            continue
        shown = current(question, values, DEFAULTS)
        if not shown:
            continue
        changes = meaning(question, shown)
        known = {**DEFAULTS, **flat(values)}
        assert {key: known[key] for key in changes} == changes, question.key


def test_values_are_never_changed_in_place() -> None:
    values: dict[str, Any] = {"simulation": True, "users": {"sync_group": "A"}}
    changed = with_changes(values, {"users.sync_group": "B", "log.path": "x", "simulation": False})
    assert values == {"simulation": True, "users": {"sync_group": "A"}}
    assert changed == {"simulation": False, "users": {"sync_group": "B"}, "log": {"path": "x"}}
    assert without(changed, {"users.sync_group", "log", "simulation"}) == {"users": {}}


def test_what_says_nothing_is_not_written() -> None:
    values: dict[str, Any] = {"simulation": True}
    values = with_changes(values, meaning(_question("directory.servers"), "ldaps://dc1.example.test"))
    values = with_changes(values, meaning(_question("directory.ca_file"), "-"))
    values = with_changes(values, meaning(_question("mail.enabled"), "no"))
    said = {
        "simulation": True,
        "directory": {"servers": ["ldaps://dc1.example.test"]},
        "mail": {"enabled": False},
    }
    assert worth_writing(values, {}, DEFAULTS) == said
    # what an admin wrote stays as it is; what was taken back goes
    before = {"directory": {"domain": "", "servers": ["ldaps://old"], "ca_file": "old.pem"}}
    assert worth_writing(values, before, DEFAULTS) == {
        **said,
        "directory": {"servers": ["ldaps://dc1.example.test"], "domain": ""},
    }
    values = with_changes(values, meaning(_question("directory.servers"), "example.test"))
    assert worth_writing(values, {}, DEFAULTS)["directory"] == {"domain": "example.test"}
