"""What people see in a terminal: plans and states as tables. Directory texts are never taken for markup."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.app.renderings import matched, no_action, seconds, trouble, who
from pipeline.core.exits import ExitCode
from pipeline.core.namesake import HELD_KIND
from pipeline.model import Json
from pipeline.redaction import escaped


def _cell(value: object) -> str:
    return escape(escaped(str(value)))


def plan_table(plan: Json, console: Console | None = None) -> None:
    """A plan: what would be done, what is held, who is skipped and why."""
    console = console or Console(highlight=False)
    actions = plan["actions"]
    if actions:
        table = Table(
            title=f"{len(actions)} action{'s' if len(actions) != 1 else ''} that a real pass would send",
            title_justify="left",
        )
        for name in ("action", "who", "why"):
            table.add_column(name, overflow="fold")
        for row in actions:
            table.add_row(_cell(row["action"]), _cell(who(row)), _cell(row["reason"]))
        console.print(table)
    else:
        console.print(no_action(plan))
    for held in plan["held"]:
        if held["kind"] == HELD_KIND:
            console.print(f"\n[bold]Held, a namesake:[/] {_cell(held['limit'])}")
            console.print(f"  let it pass: ad-connector approve {held['hash']}")
            continue
        console.print(
            f"\n[bold]Held by the brake:[/] {held['count']} {_cell(held['kind'])} ({_cell(held['limit'])})"
        )
        for cluster in held["clusters"]:
            console.print(f"  {cluster['count']:>6}  {_cell(cluster['by'])} {_cell(cluster['value'])}")
        for row in held["actions"]:
            console.print(f"  would {_cell(row['action'])}  {_cell(who(row))}", soft_wrap=True)
        console.print(f"  release exactly this set: ad-connector approve {held['hash']}", soft_wrap=True)
    if plan["skipped"]:
        table = Table(title=f"{len(plan['skipped'])} skipped", title_justify="left")
        for name in ("who", "why"):
            table.add_column(name, overflow="fold")
        for row in plan["skipped"]:
            table.add_row(_cell(who(row)), _cell(row["reason"]))
        console.print(table)
    for row in plan["errors"]:
        whom = f"[bold]{_cell(row['email'])}:[/] " if row["email"] else ""
        console.print(f"{whom}{_cell(trouble(row))}", soft_wrap=True)
    if matches := matched(plan):
        console.print(f"\nMembers: {_cell(matches)}")
    code = ExitCode(plan["exit_code"])
    console.print(f"\nNothing was written to Dropbox. {plan['plan']}", soft_wrap=True)
    if code:
        console.print(f"exit code {int(code)}: {code.reason}. {code.remedy}", soft_wrap=True)


def status_table(status: Json, console: Console | None = None) -> None:
    console = console or Console(highlight=False)
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    by_status = (
        ", ".join(f"{number} {name}" for name, number in sorted(status["by_status"].items())) or "nobody"
    )
    table.add_row("managed", f"{status['managed']} ({_cell(by_status)})")
    table.add_row("pending", ", ".join(f"{number} {name}" for name, number in status["pending"].items()))
    last = status["last_pass"]
    if last is None:
        table.add_row("last pass", "none yet; `ad-connector plan` shows what one would do")
    else:
        nothing = "nothing sent" if last["exit_code"] else "nothing to do"
        done = ", ".join(f"{number} {name}" for name, number in last["actions"].items()) or nothing
        if last["simulated"] and last["actions"]:
            done = f"would have sent {done}"
        simulated = " (simulated)" if last["simulated"] else ""
        table.add_row(
            "last pass",
            f"{last['id']}{simulated}, ended {seconds(last['ended'])} with {last['exit_code']}: {done}",
        )
        code = ExitCode(last["exit_code"])
        if code and code is not ExitCode.BRAKE:  # of the brake a row of its own tells
            cause = f" ({_cell(last['cause'])})" if last["cause"] else ""
            table.add_row("", f"{code.reason}{cause}. What to do: {_cell(last['remedy'])}")
    checkpoint = status["checkpoint"]
    table.add_row(
        "directory",
        "not read yet"
        if checkpoint is None
        else f"{checkpoint['source']} on {_cell(checkpoint['server'])} at {seconds(checkpoint['at'])}",
    )
    table.add_row(
        "lag",
        "none" if status["lag_seconds"] is None else f"{status['lag_seconds']:.1f} s behind what was seen",
    )
    settled = status["lag"]["seen_to_settled"]
    if settled is not None:
        shown = ", ".join(f"{name} {lasted:.2f} s" for name, lasted in settled.items())
        table.add_row("seen to done", f"{shown} over the last {status['lag']['changes']} changes")
    table.add_row("next retry", seconds(status["next_retry"]) or "none")
    brake = status["brake"]
    if brake is None:
        table.add_row("brake", "nothing held")
    else:
        for held in brake["sets"]:
            if held["kind"] == HELD_KIND:
                text = f"{_cell(held['limit'])}: ad-connector approve {held['hash']}"
                table.add_row("namesake held", text)
                continue
            table.add_row(
                "brake", f"{held['count']} {_cell(held['kind'])} held: ad-connector approve {held['hash']}"
            )
            table.add_row("", f"{_cell(held['limit'])}. Who: ad-connector plan")
    table.add_row("owner", _cell(status["owner"] or "nobody: no watch or run is running"))
    table.add_row("mails waiting", str(status["mails_waiting"]))
    console.print(table)
