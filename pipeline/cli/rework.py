"""`apply`, `undo` and `replay`: old plans and old passes, carried out, turned back, looked at with today's rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings
from pipeline.app import compose, reversal, selected
from pipeline.app.clock import SystemClock
from pipeline.app.policies import group_options_of, planner_options_of
from pipeline.app.renderings import who
from pipeline.cli.approve import asked, refuse_simulation
from pipeline.cli.bars import bars
from pipeline.cli.files import fault_to_read
from pipeline.cli.run import owned_pass
from pipeline.cli.session import execute
from pipeline.cli.wrong_usage import LARGEST_NUMBER
from pipeline.core.exits import ExitCode
from pipeline.model import Json
from pipeline.progress import Phase
from pipeline.redaction import escaped
from stages.dropbox.memory import MemoryTeam
from stages.groups.planner import GroupPlanner
from stages.people.planner import Planner, Selection
from state import lock
from state.journal import Journal


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector apply plan.json")
    def apply(
        context: typer.Context,
        plan: Annotated[Path, typer.Argument(metavar="PLAN", help="what `plan --format json` wrote")],
    ) -> None:
        """Carries out exactly that saved plan; each row only if what it was based on still holds."""
        if fault := fault_to_read(plan):
            raise typer.BadParameter(f"{fault}; `plan --format json --out FILE` writes one")

        async def body(settings: Settings) -> int:
            refuse_simulation(settings, "apply a plan")
            rows = selected.read_plan(plan)
            code, reply = await _applied(settings, plan, rows)
            for row in reply["rows"]:
                why = f"  {escaped(row['why'])}" if row["why"] else ""
                typer.echo(f"{row['state']:<10} {row['action']:<14} {escaped(who(row))}{why}")
            if not reply["rows"]:
                typer.echo("the plan wants nothing", err=True)
            stale = sum(row["state"] == "stale" for row in reply["rows"])
            if stale and code == ExitCode.SYNC:
                # The log's last line is of the pass, which knows nothing of rows that it never planned.
                typer.echo(f"exit code: {code} ({stale} of {len(reply['rows'])} rows are stale)", err=True)
            return code

        execute(context, body, is_pass=True)

    @app.command(epilog="Example: ad-connector undo 17")
    def undo(
        context: typer.Context,
        number: Annotated[
            int,
            typer.Argument(
                metavar="PASS", max=LARGEST_NUMBER, help="its number, as `status` and the log show it"
            ),
        ],
        dry: Annotated[
            bool, typer.Option("--dry-run", help="only say what would be done and what can't be")
        ] = False,
    ) -> None:
        """Plans the reverse of a pass, and says first what can't be undone. The next pass sends it."""

        async def body(settings: Settings) -> int:
            if not dry:
                refuse_simulation(settings, "undo a pass")
            now = datetime.now(UTC)
            journal = await Journal.open(settings.journal.path, read_only=True)
            try:
                with bars(Phase.JOURNAL):
                    planned = await reversal.plan_undo(journal, number, now)
            finally:
                await journal.close()
            for line in planned.all_lost:
                typer.echo(f"can't be undone: {escaped(line)}")
            for row in planned.all_rows:
                typer.echo(f"{row['done']} -> {row['undo']:<14} {escaped(row['email'] or row['guid'])}")
            if dry:
                return 0

            async def alone(journal: Journal) -> Json:
                return await reversal.write_undo(journal, planned, number, now)

            reply = await asked(settings, {"command": "undo", "pass": number}, alone)
            typer.echo(
                f"{reply['persons']} persons, {reply['groups']} groups: the next pass sends it (under the brake); "
                "they are then left as they are until the directory changes them"
            )
            return 0

        execute(context, body)

    @app.command(epilog="Example: ad-connector replay --from 1200 --person ada@example.test")
    def replay(
        context: typer.Context,
        first: Annotated[
            int, typer.Option("--from", min=1, max=LARGEST_NUMBER, help="from this line of the change log")
        ],
        last: Annotated[
            int | None, typer.Option("--to", min=1, max=LARGEST_NUMBER, help="up to this line")
        ] = None,
        person: Annotated[
            str, typer.Option("--person", help="only this person: e-mail, GUID, name or DN")
        ] = "",
        effects: Annotated[
            bool, typer.Option("--effects", help="have the differences planned by the next pass")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
    ) -> None:
        """What today's rules say of journaled changes."""
        if last is not None and last < first:
            raise typer.BadParameter(f"--to {last} comes before --from {first}")

        async def body(settings: Settings) -> int:
            if effects:
                refuse_simulation(settings, "replay with effects")
            now = datetime.now(UTC)
            journal = await Journal.open(settings.journal.path, read_only=True)
            try:
                guid = next(iter((await selected.select_person(journal, person)).guids)) if person else ""
                team, clock = MemoryTeam(), SystemClock()
                planner = Planner(team, journal, clock, planner_options_of(settings))
                groups = GroupPlanner(
                    team, journal, clock, group_options_of(settings), preview=planner.preview
                )
                with bars(Phase.LINES):
                    rows = await reversal.replay(
                        journal, planner, groups, first=first, last=last, guid=guid, now=now
                    )
                async with journal.reading():
                    end = await journal.last_seq()
            finally:
                await journal.close()
            if not rows:
                typer.echo(f"no person or group in these lines; the change log ends at line {end}", err=True)
            if as_json:
                typer.echo(json.dumps(rows, ensure_ascii=False))
            else:
                for row in rows:
                    mark = "differs" if row["differs"] else "same"
                    typer.echo(
                        f"{mark:<8} {escaped(who(row))}  {', '.join(row['wanted']) or 'nothing'}: {escaped(row['why'])}"
                    )
            if effects:
                different = [row["guid"] for row in rows if row["differs"]]

                async def alone(journal: Journal) -> Json:
                    async with journal.transaction():
                        await journal.mark_dirty(different, "retry", now)
                    return {"marked": len(different)}

                reply = await asked(settings, {"command": "mark", "guids": different}, alone)
                typer.echo(f"{reply['marked']} persons and groups are decided again by the next pass")
            return 0

        execute(context, body)


async def _applied(settings: Settings, file: Path, rows: list[selected.PlanRow]) -> tuple[int, Json]:
    """Beside a running owner it is asked to; else this process is the owner for one pass."""
    holder = lock.owner(settings.journal.path)
    if holder is not None and holder.control:

        async def nobody(journal: Journal) -> Json:
            raise AssertionError(journal)

        reply = await asked(settings, {"command": "apply", "plan": file.read_text(encoding="utf-8")}, nobody)
        settled = all(row["state"] == "applied" for row in reply["rows"])
        return (int(ExitCode.OK) if settled else int(ExitCode.SYNC)), reply

    async def act(assembly: compose.Assembly) -> tuple[int, Json]:
        async def select() -> Selection:
            return selected.select_rows(rows)

        summary = await assembly.engine.run(select=select)
        reply = await selected.outcome_of_rows(assembly.parts.journal, rows, summary.started)
        stale = any(row["state"] == "stale" for row in reply["rows"])
        return (int(summary.code) or (int(ExitCode.SYNC) if stale else 0)), reply

    return await owned_pass(settings, "apply", act)
