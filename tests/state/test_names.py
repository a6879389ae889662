"""Names that begin like a mistyped one: `Mirror.names_like`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.model import Entry, Kind
from pipeline.records import MirrorChange
from state.journal import Journal

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ada.lovlace@example.test", ["ada.lovelace@example.test"]),
        ("ida.x@example.test", ["ada.lovelace@example.test"]),
        ("all@example.test", []),  # a group's
        ("ADA", ["Ada Lovelace", "Lovelace, Ada", "ada"]),
        ("Aga", ["Ada Lovelace", "Lovelace, Ada", "ada"]),
        ("a", ["Ada Lovelace", "Lovelace, Ada", "ada"]),
        ("100%", ["100% Inc"]),
        ("1__", []),
        ("!!!", []),
        ("", ["100% Inc", "Ada Lovelace", "Lovelace, Ada", "ada"]),
    ],
)
async def test_two_of_the_first_three_letters_stand_in_their_places(
    tmp_path: Path, text: str, found: list[str]
) -> None:
    journal = await Journal.open(tmp_path / "journal.db")
    entries = (
        Entry(
            guid="1",
            kind=Kind.USER,
            dn="CN=Ada",
            name="Ada Lovelace",
            display_name="Lovelace, Ada",
            sam_account_name="ada",
            email="Ada.Lovelace@example.test",
        ),
        Entry(guid="2", kind=Kind.CONTACT, dn="CN=Inc", name="100% Inc"),
        Entry(guid="3", kind=Kind.GROUP, dn="CN=All", name="Adalbert", email="all@example.test"),
    )
    try:
        async with journal.transaction():
            await journal.mirror.apply(MirrorChange(at=datetime.now(UTC), entries=entries))
        async with journal.reading():
            assert await journal.mirror.names_like(text) == found
    finally:
        await journal.close()
