"""The contract of `pipeline.ports.Directory`, continued: identity, checkpoints, check, being woken."""

import uuid
from dataclasses import replace
from typing import Any

import pytest

from pipeline.errors import CheckpointRefused
from pipeline.model import Source

pytestmark = pytest.mark.anyio

World = Any  # the fixture's; see conftest.py


async def test_the_domain_says_who_it_is(world: World) -> None:
    domain = await world.directory.identify()
    assert domain.dns_name == "example.test"
    assert domain.base_dn == "DC=example,DC=test"
    assert uuid.UUID(domain.guid)
    assert uuid.UUID(domain.invocation_id)
    assert domain.sid.startswith("S-1-5-21-")
    assert not domain.read_only
    assert abs(domain.skew_seconds) < 60


@pytest.mark.parametrize("change", [{"profile": "other"}, {"invocation_id": str(uuid.UUID(int=1))}])
async def test_a_foreign_checkpoint_is_refused(world: World, change: dict[str, Any]) -> None:
    await world.begin()
    world._checkpoint = replace(world._checkpoint, **change)
    with pytest.raises(CheckpointRefused):
        await world.poll()


async def test_a_checkpoint_of_the_other_way_of_reading_is_refused(world: World) -> None:
    await world.begin()
    other = Source.USN if world.source is Source.DIRSYNC else Source.DIRSYNC
    world._checkpoint = replace(world._checkpoint, source=other)
    with pytest.raises(CheckpointRefused):
        await world.poll()


async def test_a_place_that_the_server_does_not_know_is_refused(world: World) -> None:
    await world.begin()
    beyond = world._checkpoint.usn + 1_000_000
    world._checkpoint = replace(world._checkpoint, cookie=b"not one of yours", usn=beyond)
    with pytest.raises(CheckpointRefused):
        await world.poll()


async def test_the_directory_is_usable_after_close(world: World) -> None:
    await world.begin()
    await world.directory.close()
    ann = world.create_user("Ann")
    assert set(await world.poll()) == {ann}


async def test_check_finds_the_group_and_never_raises(world: World) -> None:
    group = world.create_group("G", [world.create_user("Ann", mail="a@example.test")])
    good = await world.directory.check(group)
    assert {finding.state for finding in good if finding.name in {"sync group", "members"}} == {"ok"}
    bad = await world.directory.check("nowhere")
    assert [finding.state for finding in bad if finding.name == "sync group"] == ["failed"]


async def test_a_change_wakes_the_waiter(world: World) -> None:
    await world.directory.wait_for_change(0.01)  # from here on it rings
    world.create_user("Ann")
    assert await world.directory.wait_for_change(15) is True


async def test_what_changed_before_anybody_listened_is_not_left_to_the_timer(world: World) -> None:
    """The notification is taken up after the first poll: whoever waits first is sent to look at once."""
    await world.begin()
    ann = world.create_user("Ann")
    assert await world.directory.wait_for_change(60) is True
    assert set(await world.poll()) == {ann}
