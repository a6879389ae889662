"""What groups cost: requests counted at the team's border, against the least that could tell the same."""

import random
from collections.abc import Callable

import pytest

from tests.pipeline.group_world import in_group, settled, writes
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]
MANY = 1_000


@pytest.fixture
def same(new_world: Make) -> World:
    return new_world(
        groups={"mode": "same"}, users={"leave_settle_seconds": 0}, safety={"max_leavers": 100_000}
    )


async def test_one_person_into_a_large_group_costs_one_group_request_and_no_list(same: World) -> None:
    """Whatever the size: also by a process that has just been started, and out again."""
    same.team.seats = MANY + 10
    sales = same.directory.create_group("Sales")
    same.directory.add_member(same.group, sales)
    people = same.people(*(f"p{number}" for number in range(MANY)), groups=[])
    newcomer = same.person("new")
    same.directory.add_members(sales, *people)
    await settled(same)
    same.directory.add_member(sales, newcomer)
    await same.run()
    assert writes(same) == {"group_add": 1}
    same.team.requests.clear()
    same.directory.remove_member(sales, newcomer)
    await same.run()
    assert writes(same) == {"group_remove": 1}
    assert len(in_group(same, "Sales") or []) == MANY


async def test_200_people_times_200_groups_stay_within_twice_the_least(same: World) -> None:
    """The least: a request to make each group and one to fill it; then one for each group and direction that changed.

    By the API's rules no request tells of two groups, or of coming and going at once.
    """
    people = same.people(*(f"p{number}" for number in range(200)))
    guids = []
    for number in range(200):
        guid = same.directory.create_group(f"Group {number}")
        same.directory.add_members(guid, *people)
        same.directory.add_member(same.group, guid)
        guids.append(guid)
    same.team.seats = 1000
    async with same.open() as assembly:
        await assembly.engine.run()
        assert writes(same) == {"group_create": 200, "group_add": 200, "list_groups": 1}
        assert all(len(present) == 200 for present in same.team.groups.members.values())
        chance = random.Random(7)
        least = 0
        same.accept_all()
        same.team.requests.clear()
        for guid in chance.sample(guids, 60):
            # Of eighty people: more than half of all would be held by the brake.
            same.directory.remove_members(guid, *chance.sample(people[:80], 3))
            least += 1
        await assembly.engine.run()
    assert least <= sum(writes(same).values()) <= 2 * least
    expected = {
        name: sorted(
            same.directory.objects[one].mail.partition("@")[0] for one in same.directory.living_members(guid)
        )
        for guid in guids
        if (name := same.directory.objects[guid].name)
    }
    assert {name: in_group(same, name) for name in expected} == expected
