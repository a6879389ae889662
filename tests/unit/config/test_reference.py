"""The example file and the documentation say what the models say."""

import json
import re
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from config.load import judge, load
from config.reference import example, keys, main, schema, table

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "config" / "connector.example.toml"
DOCUMENT = ROOT / "docs" / "configuration.md"


def test_the_example_file_is_what_the_models_make() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == example(), "python -m config.reference example"


def test_the_example_file_has_all_keys_with_their_defaults_and_a_comment_each() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    found = {
        (section if isinstance(value, dict) else "", key): item
        for section, value in tomllib.loads(text).items()
        for key, item in (value.items() if isinstance(value, dict) else [(section, value)])
    }
    assert found == {
        (key.section, key.name): key.default if key.example is None else key.example for key in keys()
    }
    assert all("  # " in line for line in text.splitlines() if " = " in line)
    assert {(key.section, key.name) for key in keys() if key.example is not None} == {
        ("directory", "servers"),
        ("directory", "username"),
    }


def test_the_example_file_loads(tmp_path: Path) -> None:
    file = tmp_path / "connector.toml"
    file.write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    assert load(file, {}).simulation is True


def test_the_documentation_has_the_tables_of_the_models() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- keys: begin -->\n")
    assert rest.partition("<!-- keys: end -->")[0] == table(), "python -m config.reference table"


def test_what_the_documentation_says_is_needed_at_least_is_enough() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").partition("## What is needed at least")[2]
    least = tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])
    assert judge(least, Path(), {})[1] == ()
    for section, keys_of_it in least.items():
        for name in keys_of_it:
            rest = {**least, section: {key: value for key, value in keys_of_it.items() if key != name}}
            is_default_enough = name in (
                "password",
                "app_key",
            )  # env:AD_PASSWORD; the token's own check says -13
            assert bool(judge(rest, Path(), {})[1]) is not is_default_enough, name


def test_every_key_has_a_meaning_and_a_plain_type() -> None:
    for key in keys():
        assert key.meaning
        assert "typing" not in key.kind
        assert "class" not in key.kind


def test_the_keys_are_those_of_the_interface() -> None:
    assert [f"{key.section}.{key.name}".lstrip(".") for key in keys()] == INTERFACE.split()


@pytest.fixture(scope="module")
def validate() -> Callable[[Any], Any]:
    compiled: Callable[[Any], Any] = fastjsonschema.compile(json.loads(schema()))
    return compiled


def _is_valid(validate: Callable[[Any], Any], values: Any) -> bool:
    try:
        validate(values)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


def test_the_schema_file_is_what_the_models_make() -> None:
    file = ROOT / "config" / "connector.schema.json"
    assert file.read_text(encoding="utf-8") == schema(), "python -m config.reference schema"


def test_the_schema_takes_the_example_and_every_default(validate: Callable[[Any], Any]) -> None:
    validate(tomllib.loads(example()))
    for key in keys():
        validate({key.section: {key.name: key.default}} if key.section else {key.name: key.default})


@pytest.mark.parametrize(
    "text",
    [
        "[users]\nsync_gruop = 'x'",
        "[user]\nsync_group = 'x'",
        "simulation = 'yes'",
        "users = 1",
        "[users]\non_delete = 'explode'",
        "[mail]\nport = 0",
        "[mail]\nport = 70000",
        "[mail]\nport = '25'",
        "[mail]\nrecipients = 'it@example.test'",
        "[directory]\npoll_seconds = 0",
        "[safety]\nmax_leavers = -1",
        "[dropbox]\nrefresh_token = 7",
    ],
)
def test_the_schema_marks_what_the_models_refuse(validate: Callable[[Any], Any], text: str) -> None:
    values = tomllib.loads(text)
    assert not _is_valid(validate, values)
    (name, item), *_ = values.items()
    places = {name, *(f"{name}.{key}" for key in item)} if isinstance(item, dict) else {name}
    assert places & {found for found, _ in judge(values, Path(), {})[1]}


_ANY = some.booleans() | some.integers(-5, 100_000) | some.floats(allow_nan=False) | some.text(max_size=5)
_ANY_OR_LIST = (
    _ANY | some.lists(some.text(max_size=5), max_size=2) | some.sampled_from(["5%", "remove", "auto"])
)


@settings(max_examples=150, deadline=None)
@given(key=some.sampled_from(list(keys())), value=_ANY_OR_LIST)
def test_the_schema_is_never_stricter_than_the_models(
    validate: Callable[[Any], Any], key: Any, value: Any
) -> None:
    """An editor must not mark what the program takes."""
    values = {key.section: {key.name: value}} if key.section else {key.name: value}
    _, faults = judge(values, Path(), {})
    if f"{key.section}.{key.name}".lstrip(".") not in {found.partition("[")[0] for found, _ in faults}:
        assert _is_valid(validate, values), values


def test_a_wrong_command_line_is_2(capsys: object) -> None:
    assert main([]) == 2
    assert main(["table"]) == 0
    assert main(["schema"]) == 0


INTERFACE = """
simulation
directory.servers directory.domain directory.auth directory.username directory.password directory.keytab directory.ccache directory.ca_file
directory.start_tls directory.change_source directory.poll_seconds directory.notify directory.timeout_seconds
users.sync_group users.email_attribute users.manage_existing users.on_delete users.delete_grace_days
users.invited_leavers users.expired_is_disabled users.wipe_data users.send_welcome_email users.reinvite_days
users.invited_email_change users.leave_settle_seconds users.console_suspension users.exclude_emails users.exclude_guids users.exclude_group
groups.mode groups.sync_group groups.adopt_existing groups.on_leave
dropbox.app_key dropbox.app_secret dropbox.refresh_token dropbox.access_token dropbox.api_url dropbox.ca_file
dropbox.max_requests_per_second dropbox.max_concurrency dropbox.timeout_seconds dropbox.drift_poll_seconds
external_id.format external_id.adopt_legacy external_id.overwrite_foreign
safety.window_hours safety.max_leavers safety.min_leavers_allowed safety.max_email_changes safety.max_invites
journal.path journal.retention_days
log.path log.level log.format
mail.enabled mail.host mail.port mail.security mail.username mail.password mail.ca_file mail.sender mail.recipients
mail.repeat_hours
full_comparison.every_hours
canary.person canary.every_hours
service.listen service.tls_certificate service.tls_key
"""


ODD: list[Any] = [True, -1, 1.5, 10**30, 1e300, "x\ny", "word", "9", [[]], ["", "a"], {}, date(2026, 1, 1)]


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_what_a_key_refuses_is_told_in_our_words(value: Any) -> None:
    for one in keys():
        values = {one.section: {one.name: value}} if one.section else {one.name: value}
        for key, text in judge(values, Path(), {})[1]:
            words = re.search(r"Value error|[Ii]nput|type=|pydantic|\d\.0$|e\+\d", text)
            assert words is None, f"{key}: {text}"
