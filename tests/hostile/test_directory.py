"""People and groups with the names of attackers go through whole passes: invited or skipped, and nothing they wrote is carried
out by a mail program, a browser, a spreadsheet, a terminal or a log.
"""

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from rich.console import Console

from pipeline import log
from pipeline.app.renderings import plan_csv, plan_html
from pipeline.app.tables import plan_table
from pipeline.core.exits import ExitCode
from tests.hostile.words import CRUEL, texts
from tests.pipeline.world import World

CODES = {ExitCode.OK, ExitCode.SYNC, ExitCode.BRAKE}
_NAME_OF_DROPBOX = re.compile(r"[^/:?*<>\"\\|]{0,50}")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def _tags(page):
    parser = _Tags()
    parser.feed(page)
    assert parser.handlers == []
    return parser.tags


@pytest.fixture(scope="module")
def portal():
    with start_blocking_portal("asyncio") as opened:
        yield opened


HARMLESS = ["Ann", "Bob", "Cid", "Sales"]


def _population(world, names):
    """Two people directly, one in a nested group; each attribute is one of the names. `mail` stays good for the first."""
    given_name, surname, display, group = (list(names) * 4)[:4]
    world.person("ann", given_name=given_name, surname=surname, display_name=display)
    world.person("bob", mail=surname, given_name=display)
    sales = world.directory.create_group(group or "group")
    world.directory.add_member(world.group, sales)
    world.person("cid", groups=[sales], given_name=given_name, surname="", display_name=surname)


async def _story(world, monkeypatch):
    """A simulated pass, two real ones, somebody leaves, another one."""
    simulated = await world.simulate(monkeypatch)
    for _ in range(2):
        assert (await world.run()).code in CODES
    world.accept_all()
    for guid in list(world.directory.living_members(world.group)):
        world.directory.remove_member(world.group, guid)
        break
    assert (await world.run()).code in CODES
    return simulated.plan


def _check_plan(plan, harmless):
    json.loads(json.dumps(plan))
    page = plan_html(plan)
    assert _tags(page) <= _tags(plan_html(harmless))
    for row in csv.reader(io.StringIO(plan_csv(plan))):
        for cell in row:
            assert not cell.startswith(("=", "+", "@", "\t", "\r"))
    shown = io.StringIO()
    plan_table(plan, Console(file=shown, width=120, force_terminal=True))
    assert not re.search("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown.getvalue())
    assert not re.search("\x1b[^\\[]|\x1b\\[[0-9;]*[^0-9;m]", shown.getvalue()), "only colours of ours"


def _check_team(world):
    for member in world.team.members.values():
        for name in (member.given_name, member.surname):
            assert _NAME_OF_DROPBOX.fullmatch(name), name


def _exit_lines(file):
    """Every line is one of ours; those that tell an exit code are counted."""
    lines = file.read_text(encoding="utf-8").split("\n")
    for line in lines:
        assert not line or re.match(r"\d{4}-\d\d-\d\dT|    \| |exit code: -?\d+$", line), line
    assert not any("Traceback" in line for line in lines)
    return sum(line.startswith("exit code: ") for line in lines)


def _check_mails(world):
    for kept in world.mailer.kept:
        message = kept.message
        assert message["Bcc"] is None
        assert message["To"] == "admin@example.test"
        assert "\n" not in str(message["Subject"])
        html = message.get_body(("html",))
        if html is not None:
            assert not {"script", "img", "iframe", "object", "form"} & _tags(html.get_content())


@pytest.fixture(scope="module")
def harmless(portal, tmp_path_factory):
    """What the same story leaves behind with names that harm nobody."""
    return _told(HARMLESS, portal, tmp_path_factory.mktemp("harmless"))


def _told(names, portal, folder: Path):
    """The plan of the simulated pass, the number of exit lines in the log, and the world."""
    world = World(folder, config={"groups": {"mode": "same"}})
    _population(world, names)
    with pytest.MonkeyPatch.context() as monkeypatch:
        log.configure(log.LogOptions(path=folder / "x.log", to_stderr=False))
        try:
            plan = portal.call(_story, world, monkeypatch)
        finally:
            log.close()
    return plan, _exit_lines(folder / "x.log"), world


def _compare(names, harmless, portal, folder: Path):
    plan, exits, world = _told(names, portal, folder)
    assert exits == harmless[1]
    _check_plan(plan, harmless[0])
    _check_team(world)
    _check_mails(world)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(names=some.lists(texts, min_size=1, max_size=4))
def test_any_names_go_through_whole_passes_and_nothing_of_them_is_carried_out(
    names, harmless, portal, tmp_path_factory
):
    _compare(names, harmless, portal, tmp_path_factory.mktemp("hostile"))


def test_the_cruellest_names_one_by_one(harmless, portal, tmp_path_factory):
    for start in range(0, len(CRUEL), 4):
        _compare(CRUEL[start : start + 4], harmless, portal, tmp_path_factory.mktemp("cruel"))
