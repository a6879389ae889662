"""What `apply` and `run --only` say of what names nobody here, or several."""

import json
from typing import Any

import pytest

from pipeline.app.selected import outcome_of_rows, parse_plan, plan_digest, select_person
from pipeline.errors import WrongArgument
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

STRANGER = "00000000-0000-0000-0000-000000000000"


def plan_of(*rows: dict[str, Any]) -> str:
    return json.dumps({"plan": plan_digest(rows, []), "actions": rows, "held": []})


def suspend(guid: str) -> dict[str, Any]:
    return {"action": "suspend", "email": "ann@example.test", "guid": guid, "reason": "left", "detail": {}}


async def test_a_plan_of_another_configuration_is_told_from_an_old_one(world: World) -> None:
    ann = world.person("ann")
    summary = await world.run()
    group = {
        "action": "group_add",
        "email": "",
        "guid": STRANGER,
        "group": "Sales",
        "group_guid": STRANGER,
        "reason": "",
        "emails": ["ann@example.test"],
        "detail": {"guids": [ann]},
    }
    rows = parse_plan(plan_of(suspend(ann), suspend(STRANGER), group), "the plan")
    async with world.open() as assembly:
        told = await outcome_of_rows(assembly.parts.journal, rows, summary.ended)
    assert [row["state"] for row in told["rows"]] == ["stale"] * 3
    old, *others = [row["why"] for row in told["rows"]]
    assert "no longer holds" in old
    for why in others:
        assert "may be of another configuration" in why


async def test_of_several_of_a_name_each_is_named_by_what_tells_them_apart(world: World) -> None:
    world.person("ann", display_name="Ann Lee")
    world.person("lee", display_name="Ann Lee", mail="")
    await world.run()
    async with world.open() as assembly:
        with pytest.raises(WrongArgument) as told:
            await select_person(assembly.parts.journal, "Ann Lee")
    assert "ann@example.test (" in told.value.cause
    assert "; " in told.value.cause
    assert "by e-mail or objectGUID" in told.value.hint
