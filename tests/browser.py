"""A real browser in a test."""

import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import anyio
import pytest

PATIENCE_SECONDS = 60.0


class Chromium:
    """A real browser, told what to do over its debugging port."""

    def __init__(self, program: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [
                program,
                "--headless=new",
                "--no-sandbox",  # it runs as root in a container
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--remote-debugging-port=0",
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._port_file = folder / "DevToolsActivePort"
        self._number = 0

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Self]:
        """Skips the test where there is no browser."""
        program = shutil.which("chromium")
        if program is None:
            pytest.skip("no chromium here: apt-get install chromium")
        browser = cls(program, folder)
        try:
            yield browser
        finally:
            browser.process.kill()
            browser.process.wait()

    async def use(self, act: Callable[[], Awaitable[None]]) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            while not (self._port_file.exists() and "\n" in self._port_file.read_text()):
                await anyio.sleep(0.05)
        port = self._port_file.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (target,) = [one for one in await answer.json() if one["type"] == "page"]
            async with session.ws_connect(target["webSocketDebuggerUrl"]) as self._socket:
                with anyio.fail_after(PATIENCE_SECONDS):
                    await act()

    async def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == self._number:
                return message.get("result")

    async def value(self, expression: str) -> Any:
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return (found or {}).get("result", {}).get("value")

    async def until(self, expression: str) -> Any:
        while not (found := await self.value(expression)):
            await anyio.sleep(0.05)
        return found
