"""Behaviour §10: one canonical line an action, the exit code on a line of its own, no secret, no forged line."""

import io
import json
import logging
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import log, redaction
from pipeline.errors import RightsError
from pipeline.log import Event, LogOptions

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_forms", set())
    monkeypatch.setattr(redaction, "_pattern", None)
    yield
    log.close()


def to_stream(**options: object) -> io.StringIO:
    stream = io.StringIO()
    log.configure(LogOptions(**options), stderr=stream, now=lambda: NOON)  # type: ignore[arg-type]
    return stream


def log_action(person: str, action: str, outcome: str, reason: str, **more: object) -> None:
    log.log_actions([{"person": person, "action": action, "outcome": outcome, "reason": reason, **more}])


def test_the_canonical_line_of_an_action_for_people() -> None:
    stream = to_stream()
    with log.in_pass(7):
        log_action("ann@example.test", "invite", "done", "in sync group Dropbox via Sales", seats=3)
    assert stream.getvalue() == (
        "2026-11-23T12:00:00.000Z info    action person=ann@example.test action=invite outcome=done "
        'reason="in sync group Dropbox via Sales" seats=3 pass_id=7\n'
    )


def test_the_canonical_line_of_an_action_for_machines() -> None:
    stream = to_stream(format="json")
    with log.in_pass(7):
        log_action("ann@example.test", "suspend", "failed", "left")
    assert json.loads(stream.getvalue()) == {
        "event": "action",
        "level": "error",
        "at": "2026-11-23T12:00:00.000Z",
        "person": "ann@example.test",
        "action": "suspend",
        "outcome": "failed",
        "reason": "left",
        "pass_id": 7,
    }


@pytest.mark.parametrize("level", ["debug", "error"])
def test_a_pass_ends_with_its_exit_code_on_a_line_of_its_own(level: str) -> None:
    stream = to_stream(level=level)
    with log.in_pass(7):
        log.exit_line(-15)
    assert stream.getvalue() == "exit code: -15\n"
    stream = to_stream(level=level, format="json")
    log.exit_line(0)
    assert json.loads(stream.getvalue()) == {"event": "pass_ended", "exit_code": 0}


def test_the_level_is_the_least_that_is_written() -> None:
    stream = to_stream(level="warning")
    log_action("a", "invite", "done", "r")
    log_action("b", "invite", "retry", "r")
    assert "person=a" not in stream.getvalue()
    assert "person=b" in stream.getvalue()


@pytest.mark.anyio
async def test_tasks_started_in_a_pass_carry_its_id_and_others_do_not() -> None:
    stream = to_stream()

    async def work() -> None:
        log.logger().info(Event.READY)

    with log.in_pass(7):
        async with anyio.create_task_group() as group:
            group.start_soon(work)
    await work()
    assert [line.endswith("pass_id=7") for line in stream.getvalue().splitlines()] == [True, False]


def fail(text: str) -> None:
    raise ValueError(text)


# --- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_registered_secret_appears_nowhere_in_an_event(form: str) -> None:
    stream = to_stream(format=form)
    value = 'ge"heim\\ü/1'
    log.register_secret(value)
    try:
        fail(f"bad {value}")
    except ValueError:
        log.logger().exception(
            Event.FAULT,
            deep={"a": [(value,), {value: 1}]},
            raw=value.encode(),
            encoded=quote(value, safe=""),
            dumped=json.dumps({"a": value}),
            shown=repr(value),
            path=Path("/x") / "y",
        )
    logging.getLogger("library").error("failed with %s", value)
    text = stream.getvalue()
    assert "heim" not in text
    assert text.count("[redacted]") >= 7


def test_a_numeric_secret_is_masked_as_a_number_too() -> None:
    stream = to_stream(format="json")
    log.register_secret("12345678")
    log.logger().info(Event.READY, pin=12345678)
    assert json.loads(stream.getvalue())["pin"] == "[redacted]"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2hunter2",
        "authorization: BEARER hunter2hunter2",
        "Authorization: Basic aHVudGVyMg==hunter2",
        "token sl.hunter2hunter2hunter2",
        "https://x/?refresh_token=hunter2hunter2&x=1",
        '{"access_token": "hunter2"}',
        "password='hunter2 hunter2'",
        r"""{"password": "a\"hunter2 hunter2"}""",
        r"password='a\' hunter2'",
        'password="cut off in hunter2',
    ],
)
def test_what_looks_like_a_credential_is_masked_unregistered(text: str) -> None:
    assert "hunter2" not in redaction.redacted(text)


CREDENTIALS = (
    *(
        "Bearer hunter2hunter2",
        "BEARER%20hunter2hunter2",
        "Basic aHVudGVyMg==hunter2",
        "\u017fl.hunter2",
        "sl.hunter2hunter2hunter2",
    ),
    *(
        "pa\u017fsword=hunter2",
        "PASSWD = hunter2",
        "app_secret='hunter2'",
        '"code_verifier": "hunter2"',
        "REFRESH_TOKEN=hunter2",
    ),
    *("registered hunter2 secret", "Basic", "bearer", "password", "=", "hunter2", "é"),
)


@given(
    st.dictionaries(
        st.sampled_from(["person", "reason", "guid", "password"]),
        st.lists(st.sampled_from(CREDENTIALS), max_size=4).map(" ".join),
    )
)
def test_looking_at_a_whole_line_masks_what_looking_at_each_value_does(fields: dict[str, str]) -> None:
    log.register_secret("registered hunter2 secret")
    assert redaction.redacted_fields(fields) == {
        name: redaction.redacted_value(value, name) for name, value in fields.items()
    }


@given(st.lists(st.sampled_from(CREDENTIALS), max_size=4).map(" ".join))
def test_a_text_that_is_let_through_by_a_glance_holds_no_credential(text: str) -> None:
    assert redaction._may_hold_credential(text) or redaction._TOKENS.search(text) is None


def test_a_value_under_the_name_of_a_secret_is_masked() -> None:
    stream = to_stream()
    log.logger().info(Event.READY, password="abc", nested={"app_secret": "def"})
    assert "abc" not in stream.getvalue()
    assert "def" not in stream.getvalue()


def test_sentences_about_secrets_stay_readable() -> None:
    text = "line 3: directory.password: is empty; basic settings; the secret: a file"
    assert redaction.redacted(text) == text


# --- forged lines -----------------------------------------------------------------------------------------------------


def test_a_name_from_the_directory_can_not_forge_a_line() -> None:
    stream = to_stream()
    name = "x\nexit code: 0\r\u2028exit code: 0\x1b[2J\u202e"
    log_action(name, "invite", "done", name)
    try:
        fail(name)
    except ValueError:
        log.logger().error(name, exc_info=True, **{name: name})
    lines = stream.getvalue().splitlines()
    assert all(line.startswith(("2026-11-23T12:00:00.000Z ", "    | ")) for line in lines)
    assert not any(letter in stream.getvalue() for letter in "\r\x1b\u2028\u202e")


@settings(max_examples=100, deadline=None)
@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.text())))
def test_any_event_is_one_line_of_json_that_reads_back(text: str, more: dict[str, object]) -> None:
    more = {
        key: value
        for key, value in more.items()
        if key not in {"event", "level", "at", "exc_info", "pass_id"}
    }
    stream = to_stream(format="json")
    log.logger().info("said", text=text, **{key: value for key, value in more.items() if key != "text"})
    assert len(stream.getvalue().splitlines()) == 1
    assert json.loads(stream.getvalue())["event"] == "said"


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text())
def test_any_event_is_one_line_of_text(key: str, text: str) -> None:
    stream = to_stream()
    log_action(text, text, text, text, **({key: text} if key not in {"level", "exc_info", "event"} else {}))
    assert len(stream.getvalue().splitlines()) == 1


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_is_made_with_mode_0600_and_appended_to(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    for code in (0, -17):
        log.configure(LogOptions(path=file, to_stderr=False))
        log.exit_line(code)
    assert file.read_text() == "exit code: 0\nexit code: -17\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_is_turned_and_every_line_kept(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    log.configure(LogOptions(path=file, to_stderr=False, max_bytes=200, backups=3))
    for number in range(6):
        log_action(f"p{number}", "invite", "done", "r")
    names = sorted(found.name for found in tmp_path.iterdir())
    assert names == ["x.log", "x.log.1", "x.log.2"]
    assert all(stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600 for name in names)
    assert "".join((tmp_path / name).read_text() for name in names).count("person=p") == 6


def test_actions_settled_together_are_a_line_each_in_one_write(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    log.configure(LogOptions(path=file, to_stderr=False, level="warning"))
    writes: list[str] = []
    assert log._sink.handlers is not None
    log._sink.handlers[0].addFilter(lambda record: writes.append(record.getMessage()) or True)
    outcomes = ["failed", "done", "failed"]
    log.log_actions(
        {"person": f"p{n}\nforged", "action": "invite", "outcome": one, "reason": "password=hunter2"}
        for n, one in enumerate(outcomes)
    )
    lines = file.read_text().splitlines()
    assert [line.split("person=")[1].split("\\n")[0] for line in lines] == ["p0", "p2"]
    assert "hunter2" not in file.read_text()
    assert len(writes) == 1


def test_a_file_that_another_program_turned_is_opened_again(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    log.configure(LogOptions(path=file, to_stderr=False))
    log.exit_line(0)
    file.rename(tmp_path / "old")
    log.exit_line(1)
    assert file.read_text() == "exit code: 1\n"


@pytest.mark.parametrize("place", ["gone/x.log", "."])
def test_a_log_that_can_not_be_written_is_a_matter_of_rights_and_leaves_the_old_one(
    tmp_path: Path, place: str
) -> None:
    stream = to_stream()
    with pytest.raises(RightsError) as caught:
        log.configure(LogOptions(path=tmp_path / place))
    assert caught.value.exit_code == -11
    log.exit_line(0)
    assert stream.getvalue() == "exit code: 0\n"


def test_a_full_disk_stops_no_work_and_shows_no_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    log.configure(LogOptions(path=full, to_stderr=False, max_bytes=0))
    log_action("ann", "invite", "done", "r")
    complaint = capsys.readouterr().err
    assert "can't be written" in complaint
    assert "ann" not in complaint
    log.close()


def test_before_the_log_is_open_warnings_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    log.logger().info(Event.READY)
    log.logger().warning(Event.FAULT, cause="c")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "fault cause=c" in captured.err
    assert "ready" not in captured.err


def test_libraries_log_through_the_same_line_from_warnings_up() -> None:
    stream = to_stream()
    logging.getLogger("aiohttp.x").info("chatter")
    logging.getLogger("aiohttp.x").warning("line\nbreak")
    assert (
        stream.getvalue()
        == "2026-11-23T12:00:00.000Z warning library logger=aiohttp.x message=line\\nbreak\n"
    )
