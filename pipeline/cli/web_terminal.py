"""`configure --web`: the same questions as in a terminal, shown and answered on a page in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, cast

import anyio
import anyio.to_thread
import typer
from rich.console import Console

from config.answers import EMPTY
from pipeline.cli.terminal import Abort, Back, Terminal
from pipeline.errors import ConnectorError
from pipeline.redaction import escaped, redacted
from stages.service.conversation import Conversation, ConversationOver, WentBack
from stages.service.setup_page import SetupPage

_GOODBYE_SECONDS = 10.0


class _Lines:
    """A file for rich that hands whole lines to the conversation."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._conversation.say(line)
        return len(text)

    def flush(self) -> None: ...


class WebTerminal(Terminal):
    """Asks on the page. Raises Abort where the page is closed down."""

    usage = (
        "The field holds what is set now: change it, clear it, or leave it. Back shows the question before; "
        "Ctrl-C in the terminal gives up."
    )
    again_or_keep = "Leave it empty to answer again; k: keep it all the same"

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation
        self.console = Console(
            file=cast("IO[str]", _Lines(conversation)),
            highlight=False,
            soft_wrap=True,
            force_terminal=False,
            width=200,
        )

    def say_address(self, address: str) -> None:
        self._conversation.say(address, is_address=True)

    def conclude(self, text: str, *, style: str = "") -> None:
        super().conclude(text, style=style)
        typer.echo(escaped(text))

    def ask(self, text: str, default: str = "") -> str:
        given = self._asked(escaped(text), escaped(default), is_hidden=False).strip()
        # The field is filled with what stands there: who clears it means it.
        answer = given or (EMPTY if default else "")
        self.say(redacted(f"{text}: {given}"), style="")
        return answer

    def ask_hidden(self, text: str) -> str:
        answer = self._asked(escaped(text), "", is_hidden=True)
        self.say(f"{text}: (not shown)")
        return answer

    def _asked(self, text: str, default: str, *, is_hidden: bool) -> str:
        try:
            return self._conversation.ask_blocking(text, default, is_hidden=is_hidden)
        except ConversationOver:
            raise Abort from None
        except WentBack:
            raise Back from None


def in_browser(work: Callable[[Terminal], int]) -> int:
    """Runs `work` with a terminal that is a page; prints the page's address. Ctrl-C gives up."""
    return anyio.run(_in_browser, work)


async def _in_browser(work: Callable[[Terminal], int]) -> int:
    conversation = Conversation()
    page = SetupPage(conversation)
    code, failure = 0, None
    async with anyio.create_task_group() as tasks:
        await tasks.start(page.serve)
        typer.echo(f"Open this address in a browser on this machine; it is good once:\n\n  {page.address}\n")
        typer.echo("Ctrl-C gives up.")
        try:
            code = await anyio.to_thread.run_sync(work, WebTerminal(conversation), abandon_on_cancel=True)
        except ConnectorError as error:  # raised outside of the group, which would wrap it
            conversation.say(escaped(str(error)))
            failure = error
        finally:
            conversation.end()
        with anyio.move_on_after(_GOODBYE_SECONDS):
            await page.end_was_shown.wait()
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return code
