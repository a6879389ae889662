"""`configure`: asks for everything, tests each answer, writes `connector.toml`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from config.answers import flat, worth_writing
from config.document import as_toml
from config.draft import Original, demand_place, opened, save
from config.load import place_for
from config.questions import Topic, question_for
from pipeline.cli.invocation import Invocation
from pipeline.cli.session import complain
from pipeline.cli.terminal import Abort, Back, Terminal
from pipeline.cli.web_terminal import in_browser
from pipeline.cli.wizard import DEFAULTS, Wizard
from pipeline.core.exits import shell_status
from pipeline.errors import ConfigurationError, ConnectorError

_OPERATION = "setting the connector up"


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector configure users")
    def configure(
        context: typer.Context,
        topic: Annotated[
            Topic | None,
            typer.Argument(
                help="what to ask about; else a menu, and everything where there is no configuration yet"
            ),
        ] = None,
        web: Annotated[
            bool, typer.Option("--web", help="ask on a page in a browser on this machine")
        ] = False,
    ) -> None:
        """Asks for everything, tests each answer as it is given, and writes connector.toml (mode 0600)."""
        invocation: Invocation = context.obj
        try:
            code = (
                in_browser(partial(_configure, invocation, topic)) if web else _at_terminal(invocation, topic)
            )
        except ConnectorError as error:
            code = complain(error, is_pass=False)
        except (Abort, KeyboardInterrupt):
            sys.stderr.write("\nGiven up: nothing was written.\n")
            code = 130
        raise SystemExit(shell_status(code))


def _at_terminal(invocation: Invocation, topic: Topic | None) -> int:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            _OPERATION,
            "there is no terminal to ask at",
            "start it in a terminal, or write the file by hand: docs/configuration.md has all keys",
        )
    return _configure(invocation, topic, Terminal())


def _configure(invocation: Invocation, topic: Topic | None, terminal: Terminal) -> int:
    original = opened(place_for(invocation.config, invocation.environ), invocation.environ)
    demand_place(original.file)
    _introduce(terminal, original)
    wizard = Wizard(terminal, original.values, original.file, invocation.environ)
    was_simulating = wizard.settings.simulation
    by_menu = topic is None and original.is_there
    while True:
        try:
            if not by_menu:
                wizard.ask_about(topic)
            elif not _choose(terminal, wizard):
                return _give_up(terminal)
            return _finish(terminal, wizard, original, was_simulating=was_simulating)
        except Back:  # from the first question, or from the last one of all
            by_menu = True


def _introduce(terminal: Terminal, original: Original) -> None:
    terminal.say(f"Configuration: {original.file}" + ("" if original.is_there else " (a new file)"))
    if original.faults:
        terminal.say(
            "It is broken; what it says all the same is taken over, the rest is asked:", style="yellow"
        )
        for fault in original.faults:
            terminal.say(f"  {fault}")
        terminal.say("When you save, the broken file is kept beside it as .bak.")
    terminal.say(terminal.usage)


def _choose(terminal: Terminal, wizard: Wizard) -> bool:
    """The menu of who comes back to change one thing. False: nothing is to be saved."""
    topics = list(Topic)
    while True:
        terminal.say()
        for number, topic in enumerate(topics, 1):
            terminal.say(f"  {number}  {topic.heading}")
        terminal.say("  a  everything, in order")
        terminal.say("  s  save and end")
        terminal.say("  q  end without saving")
        answer = terminal.ask("What shall be changed").lower()
        if answer in ("s", "save"):
            return True
        if answer in ("q", "quit"):
            return False
        if answer in ("a", "all"):
            wizard.ask_about(None)
        elif answer in list(topics):
            wizard.ask_about(Topic(answer))
        elif answer.isascii() and answer.isdigit() and 1 <= int(answer[:9]) <= len(topics):
            wizard.ask_about(topics[int(answer[:9]) - 1])
        else:
            terminal.say("answer with a number or a letter of the list", style="yellow")


def _finish(terminal: Terminal, wizard: Wizard, original: Original, *, was_simulating: bool) -> int:
    _mend(terminal, wizard)
    values = worth_writing(wizard.values, original.values, DEFAULTS)
    changed = _changes(original.values, values)
    terminal.say()
    if not (changed or wizard.has_secrets or original.faults) and original.is_there:
        terminal.conclude("Nothing has changed; nothing was written.")
        return 0
    terminal.say("To be written:", style="bold")
    for line in changed or ["  nothing but the secrets"]:
        terminal.say(line)
    settings = wizard.settings
    if was_simulating and not settings.simulation:
        for line in _FOR_REAL[: 1 + settings.users.wipe_data]:
            terminal.say(line, style="yellow")
    if not terminal.ask_yes(f"Save {original.file}", default=True):
        return _give_up(terminal)
    try:
        wizard.store_secrets()
        kept = save(original, values)
    except ConnectorError as error:
        terminal.say(f"{error.operation}: {error.cause}", style="red")
        terminal.say(f"Nothing of your answers is lost: {error.hint}, then save again.", style="yellow")
        raise Back from error
    terminal.conclude(f"Saved: {original.file} (mode 0600)", style="green")
    if kept is not None:
        terminal.conclude(f"The broken file is kept as {kept}")
    next_step = "`ad-connector check`, then `ad-connector plan`."
    if not settings.simulation:
        next_step = "`ad-connector plan` shows what `ad-connector run` would send now."
    terminal.conclude(f"Next: {next_step}")
    return 0


_FOR_REAL = (
    "Simulation ends with this: the next `ad-connector run` sends to Dropbox what `ad-connector plan` shows.",
    "Whoever is suspended or removed then has Dropbox wiped from their devices too (users.wipe_data).",
)


def _mend(terminal: Terminal, wizard: Wizard) -> None:
    """What is still missing or contradicts itself is asked for; ConfigurationError for what no question can set."""
    while faults := wizard.faults:
        terminal.say()
        terminal.say("This can't be saved yet:", style="yellow")
        for key, text in faults:
            terminal.say(f"  {key}: {text}")
        question = next((one for key, _ in faults if (one := question_for(key.partition("[")[0]))), None)
        if question is None:
            raise ConfigurationError(
                _OPERATION, tuple(f"{key}: {text}" for key, text in faults), "change these keys in the file"
            )
        wizard.ask(question)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Lines for people: which keys get which values. A literal secret is not shown."""
    old, new = flat(before), flat(after)
    lines = [
        f"  {key} = {_shown(key, value)}" for key, value in new.items() if old.get(key, _NOTHING) != value
    ]
    return lines + [f"  {key} is taken out" for key in old if key not in new]


_NOTHING = object()


def _shown(key: str, value: Any) -> str:
    is_secret = key.rpartition(".")[2] in ("password", "app_secret", "refresh_token", "access_token")
    if is_secret and not str(value).startswith(("env:", "file:", "keyring:", "systemd:")):
        return "********"
    return as_toml(value)


def _give_up(terminal: Terminal) -> int:
    terminal.conclude("Nothing was written.")
    return 0
