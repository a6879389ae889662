"""What the console shows: what `status`, `explain` and `journal show` say, and nothing that they don't."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest

from pipeline.app import console_view
from pipeline.app.overview import status_of
from pipeline.redaction import register_secret
from stages.service.health import Reading
from state.database import Database
from state.journal import Journal
from state.upkeep import verify
from tests.browser import Chromium
from tests.console.scene import EVIL, Served, Visitor, trouble
from tests.pipeline.conftest import quiet_log  # noqa: F401 - a fixture
from tests.pipeline.group_world import nest, settled
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def served(world: World) -> Served:
    return Served(world)


@pytest.fixture
async def admin(served: Served) -> AsyncIterator[Visitor]:
    async with served.visitor() as visitor:
        yield visitor


class Structure(HTMLParser):
    """The tags of a page, what refers to other resources, and its plain text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


async def text_at(admin: Visitor, path: str) -> str:
    page = await admin.get(path)
    assert page.status == 200, page.text
    return Structure(page.text).text


async def test_nothing_read_yet_claims_nothing(admin: Visitor, world: World) -> None:
    await admin.open()
    page = await admin.get("/")
    assert page.status == 500, "there is no journal yet"
    await (await world.open_journal()).close()
    text = await text_at(admin, "/")
    assert "No pass has ended yet" in text
    assert "All is well" not in text
    assert "nothing read yet" in text


async def test_fine_and_why(admin: Visitor, served: Served, world: World) -> None:
    world.people("ann", "bob")
    await world.run()
    world.accept_all()
    await world.run(full=True)
    await admin.open()
    text = await text_at(admin, "/")
    assert "All is well" in text
    assert "Needs you" not in text
    assert "Managed2 2 active" in text
    assert "Seats" not in text, "nobody asked yet"
    served.reading = Reading(
        troubles=("the directory was not read since 12:00",),
        values={("seats", ""): 500, ("seats_free", ""): 488},
    )
    text = await text_at(admin, "/")
    assert "Seats488 of 500 were free when the last pass began" in text
    assert "All is well" not in text
    assert "the directory was not read since 12:00" in text


async def test_what_needs_somebody_and_the_command_for_it(admin: Visitor, world: World) -> None:
    await trouble(world)
    await admin.open()
    text = await text_at(admin, "/")
    journal = await Journal.open(world.journal_path, read_only=True)
    status = await status_of(journal, world.clock.now())
    await journal.close()
    assert "All is well" not in text
    assert "The last pass ended with -18: the brake holds actions" in text
    assert "Held by the brake: 11 leavers" in text
    assert "11: cause: disabled" in text
    assert "p003@example.test" in text, "whom it is about"
    assert "Held, a namesake" in text
    hashes = {one["hash"] for one in status["brake"]["sets"]}
    assert len(hashes) == 2
    assert set(re.findall(r"type ad-connector approve ([0-9a-f]+)", text)) == hashes
    assert "1 action failed" in text
    assert "Dropbox gave a reason that this version does not know" in text
    for state, number in status["pending"].items():
        assert f"{number} {state}" in text
    assert str(status["managed"]) in text


async def first_page_of(world: World) -> str:
    async with Served(world).visitor() as admin:
        return (await admin.open()).text


async def test_what_is_held_of_a_groups_members_names_the_group(tmp_path: Path) -> None:
    safety = {"max_leavers": "5%", "min_leavers_allowed": 2}
    config = {"groups": {"mode": "same"}, "safety": safety, "users": {"leave_settle_seconds": 0}}
    world = World(tmp_path, config=config)
    sales = nest(world, "Sales", *(f"s{number}" for number in range(6)))
    tech = nest(world, "Tech", *(f"t{number}" for number in range(20)))
    await settled(world)
    people = world.directory.living_members(sales)
    world.directory.add_members(world.group, *people)
    world.directory.remove_members(sales, *people[:3])
    await world.run()
    page = await first_page_of(world)
    assert re.search(r"s\d@example.test in group Sales", Structure(page).text)
    assert f"/person?q={people[0]}" in page
    assert tech not in page


async def test_a_group_that_is_to_be_deleted_is_no_person(tmp_path: Path) -> None:
    world = World(tmp_path, config={"groups": {"mode": "same", "on_leave": "delete"}})
    sales = nest(world, "Sales")
    world.person("ann")
    await settled(world)
    world.directory.delete(sales)
    await world.run()
    page = await first_page_of(world)
    assert '<bdi>Sales</bdi></td><td class="short">group_delete</td>' in page
    assert re.search(r"approve [0-9a-f]{12}<", page)
    assert f"/person?q={sales}" not in page


async def test_an_approved_set_is_gone(admin: Visitor, world: World) -> None:
    await trouble(world)
    await admin.open()
    for digest in await world.held():
        assert digest in (await admin.get("/")).text
        await world.approve(digest)
    await world.run()
    text = await text_at(admin, "/")
    assert "ad-connector approve" not in text
    assert "Held" not in text


async def test_a_person_is_explained_as_explain_does(admin: Visitor, world: World) -> None:
    who = await trouble(world)
    await admin.open()
    text = await text_at(admin, f"/person?q={who['failed']}")
    assert "update: differs: last name 'Example' -> 'Lee'" in text
    assert "in the sync group: Dropbox" in text
    assert f"ad-guid:{who['failed']}" in text
    assert "in sync group Dropbox, not on the team" in text, "the first action"
    text = await text_at(admin, "/person?q=NESTED@example.test")
    assert "Dropbox > Sales & <b>Friends</b>" in text
    text = await text_at(admin, f"/person?q={who['held']}")
    assert "`" not in text
    [leavers] = [digest for digest in await world.held() if digest in text]
    assert "held by the brake, with 11 leavers in all" in text
    assert f"ad-connector approve {leavers} releases exactly this set" in text
    assert "admin@example.test" in await text_at(admin, "/person?q=admin@example.test")
    both = await text_at(admin, "/person?q=p030@example.test")
    assert who["left"] in both
    assert who["namesake"] in both


async def test_who_was_mistyped_is_guessed(admin: Visitor, world: World) -> None:
    await trouble(world)
    await admin.open()
    page = await admin.get("/person?q=neste@example.test")
    assert "Nobody is known as" in page.text
    assert '<a href="/person?q=nested%40example.test">' in page.text
    assert "Did you mean" not in await text_at(admin, "/person?q=%00%ff")
    assert "Find a person above" in await text_at(admin, "/person")


async def test_the_journal_page_by_page_by_person_and_by_kind(
    admin: Visitor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = await trouble(world)
    await admin.open()
    monkeypatch.setattr(console_view, "SHOWN_LINES", 7)
    seen: list[int] = []
    path = "/journal"
    while path:
        page = await admin.get(path)
        seen += map(int, re.findall(r'<tr>\s*<td class="number">(\d+)</td>', page.text))
        older = re.search(r'rel="next" href="([^"]+)"', page.text)
        path = older[1].replace("&amp;", "&") if older else ""
    async with world.reading() as journal:
        assert seen == list(range(await journal.last_seq(), 0, -1))
    assert "invite done" in await text_at(admin, f"/journal?q={who['nested']}&kind=action")
    assert "invite done" in await text_at(admin, "/journal?q=nested")
    assert "delta" not in re.sub(r"Kind.*Show", "", await text_at(admin, "/journal?kind=pass"))
    assert "No such lines" in await text_at(admin, "/journal?q=nobody@example.test")
    assert "Several people are known as" in await text_at(admin, "/journal?q=p030@example.test")
    assert "changed" in await text_at(admin, f"/journal?q={world.group}"), "of a group, by its GUID"


async def test_a_rare_kind_is_looked_for_a_part_at_a_time(
    admin: Visitor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trouble(world)
    await admin.open()
    monkeypatch.setattr(console_view, "LOOKED_AT_LINES", 10)
    pages = 0
    path, found = "/journal?kind=pass", ""
    while path:
        page = await admin.get(path)
        found += Structure(page.text).text
        older = re.search(r'rel="next" href="([^"]+)"', page.text)
        path = older[1].replace("&amp;", "&") if older else ""
        pages += 1
    assert pages > 4
    assert found.count("exit code") == 3


@pytest.mark.parametrize(
    "query",
    ["before=x", "before=-1", "before=99999999999999999999", "before=%C2%B2", "kind=nonsense", "before=0"],
)
async def test_a_query_made_up_by_somebody_is_no_fault(admin: Visitor, world: World, query: str) -> None:
    await world.run()
    await admin.open()
    assert (await admin.get(f"/journal?{query}")).status == 200
    assert (await admin.get(f"/pending?state={query}")).status == 200


async def test_what_stands_in_a_state(admin: Visitor, world: World) -> None:
    await trouble(world)
    await admin.open()
    assert "11 held" in await text_at(admin, "/pending?state=held")
    assert "p020@example.test" in await text_at(admin, "/pending?state=failed")
    assert "Nothing is to be tried again" in await text_at(admin, "/pending?state=retry")


async def test_no_text_from_outside_becomes_a_part_of_a_page(admin: Visitor, world: World) -> None:
    who = await trouble(world)
    await admin.open()
    paths = [
        "/",
        "/person?q=nested",
        "/pending?state=failed",
        "/journal",
        f"/person?q={quote(EVIL)}",
        f"/journal?q={quote(EVIL)}",
    ]
    shown = 0
    for path in [*paths, f"/person?q={who['failed']}"]:
        page = Structure((await admin.get(path)).text)
        assert "script" not in page.tags
        assert (
            "b" not in page.tags or "<b>Friends</b>" not in page.text or "Sales & <b>Friends</b>" in page.text
        )
        assert not [one for one in page.attributes if one[1].startswith("on") or one[1] == "style"]
        links = [value for _, name, value in page.attributes if name in ("href", "src", "action")]
        assert all(re.match(r"/(?!/)|#main$", link) for link in links), "nothing leads to another host"
        shown += page.text.count("<script>")
    assert shown > 5, "it is shown, as text"


async def test_a_secret_that_got_into_the_journal_is_masked(admin: Visitor, world: World) -> None:
    secret = "Gr4nd-Secret-of-the-Directory"
    world.person("ann", surname=secret)
    await world.run()
    register_secret(secret)
    await admin.open()
    for path in ("/", "/person?q=ann", "/journal"):
        page = await admin.get(path)
        assert page.status == 200
        assert secret not in page.text
    assert "[redacted]" in (await admin.get("/person?q=ann")).text


async def test_a_page_that_fails_says_why_and_stops_nothing(
    admin: Visitor, served: Served, world: World
) -> None:
    await world.run()
    await admin.open()
    good = world.journal_path.rename(world.folder / "away")
    page = await admin.get("/journal")
    assert page.status == 500
    assert "Not possible: open the journal" in Structure(page.text).text
    good.rename(world.journal_path)
    assert (await admin.get("/journal")).status == 200
    assert (await admin.get("/healthz")).status == 200


async def test_a_fault_of_ours_is_told_too(
    admin: Visitor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.run()
    await admin.open()

    async def broken(*_values: object, **_named: object) -> dict[str, object]:
        raise RuntimeError("no <b>luck</b>, password=hunter22")

    monkeypatch.setattr(console_view, "overview_of", broken)
    page = await admin.get("/")
    assert page.status == 500
    assert "something unexpected happened (RuntimeError: no <b>luck</b>" in Structure(page.text).text
    assert "hunter22" not in page.text
    assert "<b>luck" not in page.text
    assert (await admin.get("/journal")).status == 200


async def test_a_page_waits_for_no_pass_and_writing_goes_on_beside_pages(
    admin: Visitor, world: World
) -> None:
    world.people("ann", "bob")
    await world.run()
    await admin.open()
    journal = await Journal.open(world.journal_path)
    rows = [{"kind": "delta", "guid": world.group, "cause": "changed"}] * 20
    try:
        async with journal.transaction():
            await journal.append(rows, world.clock.now())
            with anyio.fail_after(30):
                before = await text_at(admin, "/journal")

        async def write() -> None:
            for _ in range(60):
                async with journal.transaction():
                    await journal.append(rows, world.clock.now())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            for path in ("/", "/journal", "/person?q=ann") * 4:
                assert (await admin.get(path)).status == 200
        assert await verify(journal) == []
        assert await text_at(admin, "/journal") != before, "and what was not committed was not shown"
    finally:
        await journal.close()


def unbound(statement: str) -> list[None]:
    """A value for each of its question marks, of which the numbered ones may come twice."""
    marks = re.findall(r"\?\d*", statement)
    return [None] * (len(set(marks)) if "?1" in statement else len(marks))


async def test_no_page_looks_at_everybody(
    admin: Visitor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the plans of their statements. `status` counts everybody's state, and a name is looked for among all names: no more."""
    who = await trouble(world)
    await admin.open()
    statements: set[str] = set()
    fetch = Database.fetch

    async def noted(self: Database, statement: str, values: object = ()) -> object:
        statements.add(statement)
        return await fetch(self, statement, values)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "fetch", noted)
    for path in (
        "/",
        f"/person?q={who['held']}",
        "/pending?state=held",
        "/groups",
        "/journal",
        "/journal?kind=pass",
        f"/journal?q={who['held']}",
    ):
        assert (await admin.get(path)).status == 200
    monkeypatch.undo()
    assert len(statements) > 20
    allowed = (
        "count(*) FROM link",
        "count(*) AS number FROM member JOIN link",
        "seen_at IS NOT NULL ORDER BY id DESC LIMIT",  # from the newest on, and no further than it needs
    )
    async with world.reading() as journal:
        for statement in statements:
            if any(words in statement for words in allowed):
                continue
            rows = await journal.database.fetch(f"EXPLAIN QUERY PLAN {statement}", unbound(statement))
            steps = [row["detail"] for row in rows]
            assert not [
                step
                for step in steps
                if re.match(r"SCAN (node|member|link|edge|log|action|membership)\b(?! USING)", step)
            ], (
                statement,
                steps,
            )


async def test_a_real_browser_shows_it_and_runs_nothing(served: Served, world: World, tmp_path: Path) -> None:
    who = await trouble(world)
    with Chromium.started(tmp_path / "chromium") as browser:
        async with served.console() as (base, console):

            async def act() -> None:
                await browser.call("Page.navigate", url=console.address())
                await browser.until("document.title.startsWith('Needs you')")
                assert await browser.value("location.pathname + location.search") == "/", "the key is gone"
                assert await browser.value("document.cookie") == "", "no script could read the cookie"
                assert (
                    await browser.value("getComputedStyle(document.querySelector('.held')).borderLeftWidth")
                    == "4px"
                ), "its style is let through"
                for path in ("/person?q=nested", f"/person?q={who['failed']}", "/journal"):
                    await browser.call("Page.navigate", url=f"{base}{path}")
                    await browser.until(
                        f"document.readyState === 'complete' && location.href === {base + path!r}"
                    )
                    assert "taken" not in await browser.value("document.title")
                    assert await browser.value("document.scripts.length") == 0
                    assert await browser.value("document.documentElement.lang") == "en"
                    assert await browser.value(
                        "[...document.querySelectorAll('table')].every(one => one.caption && one.tHead)"
                    )
                    assert await browser.value(
                        "[...document.querySelectorAll('input,select')].every(one => one.labels.length === 1)"
                    )
                # A phone: the page itself is never wider than the screen, only tables scroll.
                await browser.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=360,
                    height=800,
                    deviceScaleFactor=1,
                    mobile=True,
                )
                await browser.call("Page.navigate", url=f"{base}/")
                await browser.until("document.title.startsWith('Needs you')")
                assert await browser.value("document.documentElement.scrollWidth") <= 360

            await browser.use(act)
