"""What the console shows of groups: those that are synced, how many are in them, and which fail and why; from the journal alone."""

from __future__ import annotations

from pipeline.core.plan import Note, NoteKind
from pipeline.model import Json
from stages.groups.planner import SYNC_GROUP_FAULT
from state.journal import Journal

SHOWN_GROUPS = 200


async def groups_of(journal: Journal, *, mode: str) -> Json:
    """Those that fail come first, then by name. `mode` is groups.mode."""
    async with journal.reading():
        links = await journal.groups.links()
        notes = {note.guid: note for note in await journal.notes() if note.kind in _SHOWN_NOTES}
        fault = notes.pop(SYNC_GROUP_FAULT, None)
        nodes = await journal.mirror.nodes({*links, *notes})
        names = {
            guid: nodes[guid].entry.name
            if guid in nodes
            else links[guid].name
            if guid in links
            else notes[guid].label
            for guid in {*links, *notes}
        }
        order = sorted(names, key=lambda guid: (not _fails(notes.get(guid)), names[guid].casefold(), guid))
        shown = order[:SHOWN_GROUPS]
        ids = {guid: links[guid].group_id for guid in shown if guid in links}
        teams = await journal.groups.named(ids.values())
        counts = await journal.groups.count_members(ids.values())
    rows = []
    for guid in shown:
        note = notes.get(guid)
        rows.append(
            {
                "guid": guid,
                "name": names[guid],
                "dropbox": teams.get(ids.get(guid, ""), ""),
                "members": counts.get(ids[guid], 0) if guid in ids else None,
                "fails": _fails(note),
                "note": note.detail if note is not None else "",
            }
        )
    return {
        "mode": mode,
        "count": len(order),
        "failing": sum(_fails(note) for note in notes.values()),
        "fault": fault.detail if fault is not None else "",
        "groups": rows,
    }


_SHOWN_NOTES = frozenset({NoteKind.GROUP_FAILED, NoteKind.GROUP_LEFT_OUT})


def _fails(note: Note | None) -> bool:
    return note is not None and note.kind is NoteKind.GROUP_FAILED
