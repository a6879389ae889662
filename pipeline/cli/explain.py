"""`explain`: why somebody has what they have, and what happens next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import typer

from config.settings import Settings
from pipeline.app.clock import SystemClock
from pipeline.app.explanation import answer_about
from pipeline.app.group_explanation import explain_group, text_of_group
from pipeline.app.outlook import outlook
from pipeline.app.policies import group_options_of, planner_options_of
from pipeline.app.rehearsal import Source, before_it, source_of
from pipeline.app.renderings import seconds
from pipeline.cli.session import execute
from pipeline.core.obstacles import SIMULATION, Obstacle, only_simulated
from pipeline.errors import WrongArgument
from pipeline.model import Json
from pipeline.redaction import escaped
from stages.dropbox.memory import MemoryTeam
from stages.groups.planner import GroupPlanner
from stages.people.planner import Planner
from state.database import stamp


def register(app: typer.Typer) -> None:
    @app.command("explain", epilog="Example: ad-connector explain ada.lovelace@example.test")
    def explain_command(
        context: typer.Context,
        person: Annotated[
            str,
            typer.Argument(
                metavar="PERSON", help="e-mail, GUID, name, account or DN; also of persons who are gone"
            ),
        ] = "",
        group: Annotated[
            str, typer.Option("--group", metavar="NAME", help="a group instead: name, GUID, account or DN")
        ] = "",
        as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
    ) -> None:
        """Path of nested groups, rule, exclusion, mapping, link, last actions, what happens next and when."""
        if bool(person) == bool(group):
            raise typer.BadParameter("name either a person or --group NAME")

        async def body(settings: Settings) -> int:
            if group:
                _show(await _groups(settings, group), text_of_group, as_json=as_json)
                return 0
            async with source_of(settings.journal.path) as source:
                last = source.simulated
                found = await answer_about(
                    source.journal,
                    planner_options_of(settings),
                    person,
                    SystemClock(),
                    simulation=_simulation(settings, source),
                    rehearsed=partial(before_it, since=last.started) if last is not None else None,
                )
            if found.persons:
                _show(found.persons, text_of, as_json=as_json)
            elif found.strangers:
                _show(found.strangers, text_of_stranger, as_json=as_json)
            elif found.is_group:
                raise WrongArgument(
                    "explain", f"{person!r} is a group", f"ad-connector explain --group {shlex.quote(person)}"
                )
            else:
                raise WrongArgument(
                    "explain",
                    f"nobody known as {person!r}{found.meant}",
                    "write the e-mail, GUID, DN, account or display name in full; "
                    "known are people of the sync group, now or earlier",
                )
            return 0

        execute(context, body)


async def _groups(settings: Settings, text: str) -> list[Json]:
    async with source_of(settings.journal.path) as source:
        journal, clock, team = source.journal, SystemClock(), MemoryTeam()
        persons = Planner(team, journal, clock, planner_options_of(settings))
        planner = GroupPlanner(team, journal, clock, group_options_of(settings), preview=persons.preview)
        return await explain_group(
            journal,
            planner,
            text,
            simulation=_simulation(settings, source),
            rehearsed_since=source.simulated.started if source.simulated else None,
        )


def _simulation(settings: Settings, source: Source) -> Obstacle | None:
    if source.simulated is not None:
        return only_simulated(stamp(source.simulated.started)[:16] + "Z", is_setting=settings.simulation)
    return SIMULATION if settings.simulation else None


def _show(documents: Sequence[Json], text: Callable[[Json], str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(documents[0] if len(documents) == 1 else list(documents), ensure_ascii=False))
    else:
        typer.echo("\n\n".join(text(one) for one in documents))


def text_of_stranger(one: Json) -> str:
    """Of what is no person of ours; one line a fact."""
    lines = [escaped(one["email"] or one["dn"] or one["guid"])]
    if one["guid"]:
        lines.append(f"  object      {escaped(one['dn'])}  ({one['guid']})")
    if one["path"]:
        lines.append(f"  scope       in the sync group: {escaped(' > '.join(one['path']))}")
    if one["member"]:
        identity = escaped(one["member"]["external_id"]) or "none"
        lines.append(f"  in Dropbox  {one['member']['status']}, external id {identity}")
    return "\n".join([*lines, f"  next        nothing: {escaped(one['skipped'])}"])


def text_of(one: Json) -> str:
    """One line a fact, for people."""
    lines = [
        escaped(one["email"] or one["dn"] or one["guid"]),
        f"  object      {escaped(one['dn'])}  ({one['guid']})",
    ]
    match one["presence"]:
        case "listed":
            lines.append(f"  scope       in the sync group: {escaped(' > '.join(one['path']))}")
        case "left":
            left = one["left"] or {}
            second = (
                "confirmed by a second read"
                if left.get("confirmed")
                else "not yet confirmed by a second read"
            )
            lines.append(
                f"  scope       left: {escaped(left.get('cause', ''))} at {seconds(left.get('at')) or '?'}, {second}"
            )
        case "deleted":
            lines.append(f"  scope       deleted in the directory, seen at {seconds(one['deleted_at'])}")
        case _:
            lines.append("  scope       in the sync group, but the account may not read the object")
    if not one["enabled"]:
        lines.append("  state       disabled in the directory")
    if one["excluded"]:
        lines.append(f"  excluded    {escaped(one['excluded'])}: never touched")
    profile = one["mapping"]["profile"]
    lines.append(
        f"  wanted      {escaped(profile['given_name'])} {escaped(profile['surname'])} <{escaped(profile['email'])}> id {escaped(profile['external_id'])}"
    )
    said = {one["skipped"], *one["mapping"]["notes"]}
    lines += [f"  cleaned     {escaped(note)}" for note in one["mapping"]["notes"] if note != one["skipped"]]
    link = one["link"]
    lines.append(
        f"  link        {link['member_id']}, by {link['how']} at {seconds(link['at'])}"
        if link
        else "  link        none: not managed"
    )
    member = one["member"]
    lines.append(
        f"  in Dropbox  {member['status']}, {escaped(member['email'])}, external id {escaped(member['external_id']) or 'none'}"
        if member
        else "  in Dropbox  no account known"
    )
    for action in one["actions"][:10]:
        why = escaped(action["reason"])
        trouble = f"; {escaped(action['error'])} {escaped(action['hint'])}" if action["error"] else ""
        lines.append(
            f"  action      {seconds(action['settled_at'] or action['sent_at'] or action['planned_at'])}  {action['action']} {action['state']}: {why}{trouble}"
        )
    lines += outlook(one["next"], one["unsure"], nothing=one["skipped"] or "as it should be")
    lines += [f"  note        {escaped(note)}" for note in one["notes"] if note not in said]
    lines += [f"  changed by  {escaped(text)}" for text in one["changes_it"]]
    if one["look_again"]:
        lines.append(f"  looked at   again at {seconds(one['look_again'])}")
    return "\n".join(lines)
