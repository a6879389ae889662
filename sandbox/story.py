"""The demo: the connector's life told on a sandbox, each sentence checked. Nothing is printed that was not measured."""

from __future__ import annotations

import signal
import tempfile
import traceback
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio

from pipeline.errors import ConnectorError
from sandbox.narration import Narrator, NotAsTold
from sandbox.samba_host import SambaError
from sandbox.scene import Scene
from sandbox.story_chapters import Story


async def tell(directory: str) -> int:
    """Tells the story on `samba` or `memory`. 0: all was as told; 1: something was not; 128 + signal: interrupted."""
    if directory not in ("samba", "memory"):
        raise ConnectorError("start the demo", f"no such directory: {directory}", "say samba or memory")
    narrator = Narrator()
    caught: list[int] = []
    status = 1

    async def heed(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                caught.append(number)
                scope.cancel()
                return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heed, tasks.cancel_scope)
        status = await _told(directory, narrator)
        tasks.cancel_scope.cancel()
    if caught:
        narrator.say("\nInterrupted. Everything that the demo had started has ended.")
        return 128 + caught[0]
    return status


async def _told(directory: str, narrator: Narrator) -> int:
    with tempfile.TemporaryDirectory(prefix="ad-connector-demo-") as folder:
        try:
            async with _scene(directory, Path(folder)) as scene:
                try:
                    await Story(scene, narrator).tell()
                except Exception as error:  # noqa: BLE001 - whatever it is, it is said, and the scene is cleared
                    _complain(narrator, _sentence(error), scene.last_lines())
                    return 1
        except (SambaError, ConnectorError) as error:
            _complain(narrator, str(error), "")
            return 1
    return 0


def _scene(directory: str, folder: Path) -> AbstractAsyncContextManager[Scene]:
    # imported where they are needed: the one drags in Samba's client, the other the whole connector
    if directory == "memory":
        from sandbox.scene_memory import memory_scene

        return memory_scene(folder)
    from sandbox.scene_samba import samba_scene

    return samba_scene(folder)


def _sentence(error: Exception) -> str:
    """A task group wraps what ended the story. What nobody foresaw comes with its traceback."""
    found: BaseException = error
    if isinstance(error, BaseExceptionGroup):
        foreseen, _ = error.split((NotAsTold, ConnectorError))
        found = foreseen or error
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    if isinstance(found, NotAsTold | ConnectorError):
        return str(found)
    return "the demo itself failed\n" + "".join(traceback.format_exception(found))


def _complain(narrator: Narrator, sentence: str, detail: str) -> None:
    narrator.say(f"\nNOT AS TOLD: {sentence}")
    if detail:
        narrator.say(detail)
    narrator.say("\nThe demo ends here, with exit status 1.")
