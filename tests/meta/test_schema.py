"""The migrations lead exactly to schema.sql; a journal of another program or of the future is refused."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.errors import JournalError
from state.database import APPLICATION_ID, migrations
from state.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "state" / "migrations"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def _plain(statement: str) -> str:
    """A statement without comments and without what the writer's taste put between the words."""
    without = re.sub(r"--[^\n]*", "", statement)
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(without.split()))


def _schema(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
    return {(kind, name): _plain(sql or "") for kind, name, sql in rows}


def test_the_migrations_in_order_lead_to_the_schema() -> None:
    with closing(sqlite3.connect(":memory:")) as migrated, closing(sqlite3.connect(":memory:")) as wanted:
        for _, script in migrations():
            migrated.executescript(script)
        wanted.executescript((ROOT / "state" / "schema.sql").read_text(encoding="utf-8"))
        assert _schema(migrated) == _schema(wanted)
        assert ("table", "action") in _schema(wanted)


def test_the_migrations_are_numbered_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))
    for file in FOLDER.iterdir():
        assert re.fullmatch(r"\d{4}_[a-z_]+\.sql", file.name)


def test_a_migration_leaves_the_transaction_to_the_database() -> None:
    """Each runs in one transaction with its number; one of its own would commit half of it."""
    for _, script in migrations():
        assert not re.search(
            r"^\s*(BEGIN|COMMIT|ROLLBACK|PRAGMA|VACUUM)\b", script, re.MULTILINE | re.IGNORECASE
        )


@pytest.mark.anyio
async def test_a_new_journal_has_the_schema_its_number_and_our_mark(path: Path) -> None:
    journal = await Journal.open(path)
    await journal.close()
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(":memory:")) as wanted:
        wanted.executescript((ROOT / "state" / "schema.sql").read_text(encoding="utf-8"))
        assert _schema(connection) == _schema(wanted)
        assert connection.execute("PRAGMA user_version").fetchone() == (migrations()[-1][0],)
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


@pytest.mark.anyio
async def test_a_journal_is_opened_again_without_a_change(path: Path) -> None:
    for _ in range(2):
        journal = await Journal.open(path)
        async with journal.transaction():
            seen = await journal.get("seen")
            await journal.put("seen", f"{seen or ''}x")
        await journal.close()
    journal = await Journal.open(path, read_only=True)
    async with journal.reading():
        assert await journal.get("seen") == "xx"
    await journal.close()


@pytest.fixture(params=[False, True], ids=["to write", "to read"])
def read_only(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.anyio
async def test_a_newer_schema_is_refused_with_minus_20_and_left_alone(path: Path, *, read_only: bool) -> None:
    journal = await Journal.open(path)
    await journal.close()
    newer = migrations()[-1][0] + 1
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {newer}")
    with pytest.raises(JournalError, match=rf"has schema {newer}, this program knows {newer - 1}") as caught:
        await Journal.open(path, read_only=read_only)
    assert caught.value.exit_code == -20
    assert "upgrade the connector" in caught.value.hint
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (newer,)


@pytest.mark.anyio
async def test_another_programs_sqlite_file_is_refused_and_left_alone(path: Path, *, read_only: bool) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE invoice (id INTEGER)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="is not a journal of this program") as caught:
        await Journal.open(path, read_only=read_only)
    assert caught.value.exit_code == -20
    assert path.read_bytes() == before


@pytest.mark.anyio
async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, *, read_only: bool) -> None:
    path.write_bytes(b"Dear diary, " * 400)
    before = path.read_bytes()
    with pytest.raises(JournalError) as caught:
        await Journal.open(path, read_only=read_only)
    assert caught.value.exit_code == -20
    assert "restore a backup" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.anyio
async def test_an_older_schema_is_not_read_before_a_pass_has_upgraded_it(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.commit()
    with pytest.raises(JournalError, match="older schema") as caught:
        await Journal.open(path, read_only=True)
    assert "run a pass first" in caught.value.hint
