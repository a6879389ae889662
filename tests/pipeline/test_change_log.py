"""The change log as people read it: a group is called by its name."""

import pytest

from pipeline.app.change_log import exported, text_of_line
from pipeline.model import Json
from state.journal import Journal
from tests.pipeline.group_world import nest, settled
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio


async def lines_of(world: World) -> list[Json]:
    journal = await Journal.open(world.journal_path, read_only=True)
    try:
        return [line async for line in exported(journal)]
    finally:
        await journal.close()


async def test_groups_and_persons_without_an_e_mail_are_named(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(groups={"mode": "same"})
    sales = nest(world, "Sales", "ann", "bob")
    contact = world.directory.create_contact("Supplier", mail="")
    await settled(world)
    world.directory.rename(sales, "Selling")
    world.directory.add_member(world.group, contact)
    bob = world.member("bob").external_id.removeprefix("ad-guid:")
    world.directory.remove_member(sales, bob)
    await world.run()
    lines = await lines_of(world)
    deltas = {(one["guid"], one["name"]) for one in lines if one["kind"] == "delta" and one["guid"]}
    assert (sales, "Selling") in deltas
    assert not [one for one in deltas if not one[1]], "everything that changed is known by a name"
    shown = [text_of_line(one) for one in lines]
    assert any("  delta  Selling  changed" in one for one in shown)
    assert any("  action  bob@example.test  in Selling  group_remove  done" in one for one in shown)
    assert any("  action  Sales  group_create  done" in one for one in shown)
    assert not [one for one in shown if sales in one]


async def test_of_what_the_journal_has_forgotten_the_guid_is_shown(world: World) -> None:
    world.person("ann")
    await world.run()
    journal = await Journal.open(world.journal_path)
    async with journal.transaction():
        await journal.append([{"kind": "delta", "guid": "0" * 8, "cause": "deleted"}], world.clock.now())
    await journal.close()
    line = (await lines_of(world))[-1]
    assert line["name"] == ""
    assert text_of_line(line).endswith("  delta  00000000  deleted")
