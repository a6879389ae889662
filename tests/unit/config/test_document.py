"""The file that is written says exactly the values, keeps its owner's comments, and a broken one is read as far as it goes."""

import stat
import string
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from config.document import salvaged, written
from config.draft import opened, save
from config.load import load
from config.reference import example, keys
from pipeline.errors import RightsError

_TEXTS = some.text(some.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40)
_VALUES = some.booleans() | some.integers(-(2**62), 2**62) | _TEXTS | some.lists(_TEXTS, max_size=3)


@some.composite
def _configurations(draw: some.DrawFn) -> dict[str, Any]:
    """Any values for keys that exist."""
    values: dict[str, Any] = {}
    for key in draw(some.lists(some.sampled_from(list(keys())), max_size=12)):
        place = values.setdefault(key.section, {}) if key.section else values
        place[key.name] = draw(_VALUES)
    return values


@settings(max_examples=15, deadline=None)
@given(before=_configurations(), after=_configurations())
def test_whatever_stood_in_a_file_it_says_exactly_the_new_values(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    filled = {name: value for name, value in after.items() if value != {}}
    assert tomllib.loads(written(filled)) == filled
    assert tomllib.loads(written(filled, written(before))) == filled


@settings(max_examples=15, deadline=None)
@given(after=_configurations(), original=some.text(max_size=80) | some.text(string.printable, max_size=80))
def test_a_file_that_is_no_toml_is_written_anew(after: dict[str, Any], original: str) -> None:
    filled = {name: value for name, value in after.items() if value != {}}
    assert tomllib.loads(written(filled, original)) == filled


@pytest.mark.parametrize(
    "original",
    [
        'users = { sync_group = "A" }\n',
        'users.sync_group = "A"\nusers.email_attribute = "x"\n',
        '[users]\nsync_group = "A"\n[log]\n[mail]\nport = 25\n',
        '\ufeffsimulation = true\r\n[users]\r\nsync_group = "A"\r\n',
        '[[users]]\nsync_group = "A"\n',
    ],
)
def test_every_form_of_toml_can_be_edited(original: str) -> None:
    values = {"simulation": False, "users": {"sync_group": "B"}, "groups": {"mode": "same"}}
    assert tomllib.loads(written(values, original)) == values


def test_comments_and_order_of_the_owner_stay() -> None:
    original = '# ours\n\n[users]\n# since 2019\nsync_group = "A"  # old\n\n[log]\npath = "x"\n'
    text = written({"users": {"sync_group": "B"}, "log": {"path": "x"}}, original)
    assert text == original.replace('"A"', '"B"')


def test_the_example_file_is_left_as_it_is() -> None:
    assert written(tomllib.loads(example()), example()) == example()


@settings(max_examples=40, deadline=None)
@given(text=some.text() | some.text(string.printable) | some.binary().map(lambda raw: raw.decode("latin-1")))
def test_nothing_that_stands_in_a_file_stops_the_reading(text: str) -> None:
    assert isinstance(salvaged(text), dict)


@settings(max_examples=15, deadline=None)
@given(cut=some.integers(0, len(example())), junk=some.text(string.printable, max_size=10))
def test_a_damaged_file_is_opened_and_can_be_saved(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: str
) -> None:
    file = tmp_path_factory.mktemp("damaged") / "connector.toml"
    file.write_text(example()[:cut] + junk + example()[cut:], encoding="utf-8")
    original = opened(file, {})
    whole = {**original.values, "directory": {**original.values.get("directory", {})}}
    whole["directory"] |= {"servers": ["ldaps://dc1.example.test"], "username": "a", "password": "env:X"}
    kept = save(original, whole)
    assert (kept is not None) == bool(original.faults)
    assert load(file, {}).directory.username == "a"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_broken_file_is_kept_and_no_earlier_one_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "connector.toml"
    for number, name in enumerate(["connector.toml.bak", "connector.toml.bak.1", "connector.toml.bak.2"]):
        file.write_text(f"[broken {number}")
        kept = save(opened(file, {}), {"simulation": True})
        assert kept == tmp_path / name
        assert kept.read_text() == f"[broken {number}"


def test_what_is_not_utf_8_is_opened_and_kept_byte_for_byte(tmp_path: Path) -> None:
    file = tmp_path / "connector.toml"
    content = '[users]\nsync_group = "Müller"\nemail_attribute = "mail"\n'.encode("latin-1")
    file.write_bytes(content)
    original = opened(file, {})
    assert original.faults[0] == "not UTF-8 text"
    assert original.values["users"]["email_attribute"] == "mail"
    kept = save(original, {"simulation": True})
    assert kept is not None
    assert kept.read_bytes() == content


def test_a_folder_that_takes_no_file_is_minus_11_and_changes_nothing(tmp_path: Path) -> None:
    original = opened(tmp_path / "missing" / "connector.toml", {})
    assert not original.is_there
    with pytest.raises(RightsError, match="folder"):
        save(original, {"simulation": True})
