"""A process in which what only POSIX has is not there for our code: `run`, then `watch` until a signal ends it.

Python itself and the libraries keep theirs: that they work on Windows is for their authors to show. Prints what was done.
"""

import asyncio
import builtins
import importlib
import json
import os
import pkgutil
import signal
import sys
from pathlib import Path

OURS = ("pipeline", "stages", "state", "config")
MODULES = {
    "fcntl",
    "pwd",
    "grp",
    "resource",
    "termios",
    "tty",
    "pty",
    "syslog",
    "crypt",
    "spwd",
    "readline",
    "curses",
}
GONE = {
    os: "geteuid getuid getgid getegid getgroups setuid setgid fchown chown lchown fork forkpty killpg getpgid setsid uname "
    "sysconf mkfifo nice getloadavg",
    signal: "SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGPIPE SIGKILL pthread_sigmask sigwait alarm setitimer",
}


def block_imports() -> None:
    original = builtins.__import__

    def guarded(name, globals=None, *rest, **named):  # noqa: A002 -- some call it by the names of the built-in
        importer = (globals or {}).get("__name__", "").partition(".")[0]
        if importer in OURS and name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} (not on Windows)")
        return original(name, globals, *rest, **named)

    builtins.__import__ = guarded


def import_everything() -> int:
    count = 0
    for package in OURS:
        found = pkgutil.walk_packages([str(Path(__file__).parents[2] / package)], f"{package}.")
        for module in found:
            if module.name in ("pipeline.__main__", "stages.directory.kerberos"):
                continue  # the extra imports its own library; main would be this program again
            importlib.import_module(module.name)
            count += 1
    return count


def take_away() -> None:
    for module, names in GONE.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)

    def refuse(*_arguments):
        raise NotImplementedError

    asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = refuse


class Pipes:
    """What asyncio has on Windows instead of UNIX sockets, on files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, address: str) -> str:
        return str(self.folder / address.rpartition("\\")[2][-16:])

    async def start_serving_pipe(self, factory, address):
        return [await asyncio.get_running_loop().create_unix_server(factory, self.place(address))]

    async def create_pipe_connection(self, factory, address):
        return await asyncio.get_running_loop().create_unix_connection(factory, self.place(address))


async def main(folder: Path) -> dict[str, object]:
    from config.settings import Settings
    from pipeline import control, log
    from pipeline.app import passes
    from pipeline.app.clock import SystemClock
    from pipeline.app.watching import Watch
    from pipeline.errors import ControlError
    from stages.directory.memory import MemoryDirectory
    from stages.dropbox.memory import MemoryTeam
    from stages.service.supervisor import Supervisor
    from state import lock
    from state.journal import Journal

    loop, pipes = asyncio.get_running_loop(), Pipes(folder)
    loop.start_serving_pipe = pipes.start_serving_pipe
    loop.create_pipe_connection = pipes.create_pipe_connection
    settings = Settings.model_validate(
        {
            "simulation": False,
            "directory": {"servers": ["ldaps://dc1.example.test"], "username": "x@example.test"},
            "users": {"leave_settle_seconds": 0},
            "dropbox": {"access_token": "env:TOKEN", "drift_poll_seconds": 0.2},
            "service": {"listen": "127.0.0.1:0"},
        },
        context={"folder": folder, "environ": {"TOKEN": "t", "AD_PASSWORD": "p"}},
    )
    log.configure(log.LogOptions(path=settings.log.path, to_stderr=False))
    clock = SystemClock()
    directory, team = MemoryDirectory(clock=clock), MemoryTeam(seats=100)
    team.add("admin@example.test", is_team_admin=True, given_name="Team", surname="Admin")
    ann = directory.create_user("ann", mail="ann@example.test", given_name="Ann", surname="Lee")
    group = directory.create_group("Dropbox", members=[ann])
    address = control.pipe_address_for(settings.journal.path)
    told: dict[str, object] = {}
    ready = asyncio.Event()

    class Listener(Supervisor):
        def ready(self, status: str = "") -> None:
            ready.set()

    with lock.acquire(settings.journal.path, "run", address):
        journal = await Journal.open(settings.journal.path)
        outside = passes.Outside(directory=directory, team=team)
        async with passes.assembled(settings, journal, simulated=False, outside=outside) as assembly:
            summary = await assembly.engine.run()
        told["run"] = [int(summary.code), dict(summary.actions)]

        watch = Watch(
            settings,
            journal,
            load=lambda: settings,
            configure_log=lambda _settings: None,
            supervisor=Listener({}),
            outside=outside,
        )

        async def act() -> None:
            while not told.get("asked"):
                try:
                    told["asked"] = await control.ask(address, {"command": "pace"}, 10)
                except ControlError as error:
                    told["error"] = str(error)
                    await asyncio.sleep(0.02)
            await ready.wait()
            directory.add_member(group, directory.create_user("bob", mail="bob@example.test", surname="Ray"))
            while not await team.get_members(emails=["bob@example.test"]):
                await asyncio.sleep(0.02)
            signal.raise_signal(signal.SIGINT)

        actor = asyncio.create_task(act())
        await watch.run(address)
        await actor
        told["watched"] = [member.email for member in await team.get_members(emails=["bob@example.test"])]
        await journal.close()
    log.close()
    return told


if __name__ == "__main__":
    block_imports()
    imported = import_everything()
    take_away()
    result = asyncio.run(asyncio.wait_for(main(Path(sys.argv[1])), 60))
    sys.stdout.write(json.dumps({"imported": imported, **result}) + "\n")
