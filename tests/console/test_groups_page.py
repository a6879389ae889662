"""The console's page of groups: what is synced, how many are in it, what fails and why."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.app import console_groups
from tests.console.scene import EVIL, Served
from tests.console.test_pages import Structure
from tests.pipeline.conftest import quiet_log  # noqa: F401 - a fixture
from tests.pipeline.group_world import nest, settled
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio


async def page_of(world: World) -> Structure:
    async with Served(world).visitor() as admin:
        await admin.open()
        page = await admin.get("/groups")
    assert page.status == 200, page.text
    return Structure(page.text)


def new_world(folder: Path, **config: Any) -> World:
    return World(folder, config={"users": {"leave_settle_seconds": 0}, **config})


async def test_each_is_shown_with_both_names_its_members_and_why_it_fails(tmp_path: Path) -> None:
    world = new_world(tmp_path, groups={"mode": "same"})
    sales = nest(world, "Sales", "ann", "bob")
    nest(world, "Tech & Co", "cid")
    await settled(world)
    broken = nest(world, "Broken", "dan")
    world.person("nik", mail="", groups=[broken])
    world.directory.rename(sales, "Selling")
    await world.run()
    text = (await page_of(world)).text
    assert "3 groups, 1 failing" in text
    assert text.index("Broken") < text.index("Selling") < text.index("Tech & Co"), "what fails comes first"
    assert "Broken none fails" in text
    assert "nik" in text
    assert "Selling Selling 2" in text
    assert "Tech & Co Tech & Co 1" in text
    assert "explain --group NAME" in text


async def test_without_groups_it_says_why_there_are_none(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    world.person("ann")
    await world.run()
    assert "Groups are not synced: groups.mode is off" in (await page_of(world)).text


async def test_a_group_sync_group_that_is_empty_is_told(tmp_path: Path) -> None:
    world = new_world(tmp_path, groups={"mode": "separate", "sync_group": "Groups"})
    world.directory.create_group("Groups")
    world.person("ann")
    await world.run()
    text = (await page_of(world)).text
    assert "No group is touched: group sync group: no group is in it" in text
    assert "No group has been synced yet" not in text


async def test_a_long_list_says_so_and_a_name_is_only_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = new_world(tmp_path, groups={"mode": "same"})
    nest(world, EVIL, "ann")
    for number in range(3):
        nest(world, f"Z{number}", f"z{number}")
    await settled(world)
    monkeypatch.setattr(console_groups, "SHOWN_GROUPS", 3)
    page = await page_of(world)
    assert "4 groups, 0 failing; the first 3 are shown" in page.text
    assert EVIL in page.text
    assert "script" not in page.tags
