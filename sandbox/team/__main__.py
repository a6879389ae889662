"""``python -m sandbox.team``: a team on a port, until Ctrl-C."""

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path

from sandbox.team import RateLimit, SeedMember, TeamConfig, TeamSimulator


def _config(options: argparse.Namespace) -> TeamConfig:
    admin = SeedMember(options.admin, "Ada", "Admin", admin=True)
    domain = options.admin.partition("@")[2]
    others = (
        SeedMember(f"person{number}@{domain}", f"Given{number}", f"Family{number}")
        for number in range(1, options.people + 1)
    )
    limit = RateLimit(options.rate, options.burst) if options.rate else None
    return TeamConfig(
        team_name=options.name,
        seats=options.seats,
        members=(admin, *others),
        rate_limit=limit,
        storage=options.storage,
    )


async def _run(options: argparse.Namespace) -> None:
    simulator = TeamSimulator(_config(options))
    await simulator.start(options.host, options.port)
    config = simulator.config
    print(f"team       {simulator.url}")
    print(f"control    {simulator.url}/sandbox")
    print(f"app        key {config.app_key}  secret {config.app_secret}")
    print(f"token      {config.access_token}  (refresh: {config.refresh_token})", flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        await simulator.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.team", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--name", default="Example Team")
    parser.add_argument("--seats", type=int, default=50)
    parser.add_argument(
        "--admin", default="admin@example.com", help="e-mail of the admin who authorised the app"
    )
    parser.add_argument("--people", type=int, default=0, help="active members besides the admin")
    parser.add_argument("--rate", type=float, help="requests per second that the team may make")
    parser.add_argument("--burst", type=int, default=20)
    parser.add_argument("--storage", type=Path, help="JSON file that keeps the team")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
