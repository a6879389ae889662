"""What tests of groups make and look at."""

from pipeline.core.plan import NoteKind
from tests.pipeline.world import World


def in_group(world: World, name: str) -> list[str] | None:
    """First parts of the e-mails of who is in it; None where there is no such group."""
    for group_id, group in world.team.groups.groups.items():
        if group.name == name:
            present = world.team.groups.members[group_id]
            return sorted(world.team.members[one].email.partition("@")[0] for one in present)
    return None


def notes(world: World, kind: NoteKind) -> dict[str, str]:
    assert world.summary is not None
    return {note.label: note.detail for note in world.summary.standing.notes if note.kind is kind}


def nest(world: World, name: str, *people: str, below: str = "") -> str:
    """A group with new people in it, in the sync group or below another."""
    guid = world.directory.create_group(name)
    world.directory.add_member(below or world.group, guid)
    for one in people:
        world.person(one, groups=[guid])
    return guid


async def settled(world: World) -> None:
    """Everything is done, and everybody has joined."""
    await world.run()
    world.accept_all()
    world.clock.turn(minutes=1)
    await world.run()
    world.team.requests.clear()


def writes(world: World) -> dict[str, int]:
    return {
        name: count
        for name, count in world.team.requests.items()
        if name.startswith("group_") or name in ("list_groups", "get_groups", "list_group_members")
    }
