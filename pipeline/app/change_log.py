"""Lines of the change log for people: with the name of the group or the person that a GUID stands for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from pipeline.core.subject import label_of
from pipeline.model import Json, Kind
from pipeline.records import Node
from state.journal import Journal

_SLICE = 500


async def named(journal: Journal, lines: Sequence[Json]) -> list[Json]:
    """Each with `name`: the group's, of lines about a group or its members; else whom it is about where it has no e-mail.

    As the journal knows them now; "" where it does not. Within `reading()`.
    """
    guids = {line["guid"] for line in lines if line["guid"] and not line["email"]}
    nodes = await journal.mirror.nodes(guids)
    forgotten = guids - nodes.keys()
    links = await journal.groups.links() if forgotten else {}
    names = {guid: _name_of(node) for guid, node in nodes.items()}
    names |= {guid: links[guid].name for guid in forgotten & links.keys()}
    return [
        {
            **line,
            "name": line["detail"].get("group") or ("" if line["email"] else names.get(line["guid"], "")),
        }
        for line in lines
    ]


def _name_of(node: Node) -> str:
    return node.entry.name or node.entry.dn if node.entry.kind is Kind.GROUP else label_of(node)


async def exported(journal: Journal, *, since: datetime | None = None, guid: str = "") -> AsyncIterator[Json]:
    """All lines in the shape of `journal export` (interface.md §4), in slices so that nothing waits long for the journal."""
    part: list[Json] = []
    async for line in journal.export(since=since, guid=guid):
        part.append(line)
        if len(part) == _SLICE:
            async with journal.reading():
                named_part = await named(journal, part)
            part = []
            for one in named_part:
                yield one
    async with journal.reading():
        named_part = await named(journal, part)
    for one in named_part:
        yield one


def text_of_line(line: Json) -> str:
    """One line of `journal show`; what others wrote is not yet made safe for a terminal."""
    if line["kind"] == "pass":
        what = [f"pass {line['pass']}", f"exit code {line['state']}"]
    else:
        name = "" if line["name"] == line["email"] else line["name"]
        who = (
            [line["email"], f"in {name}"]
            if line["email"] and name
            else [line["email"] or name or line["guid"]]
        )
        what = [line["kind"], *who, line["action"], line["state"], line["cause"]]
    parts = [str(line["seq"]), line["at"][:19], *what]
    return "  ".join(part for part in parts if part)
