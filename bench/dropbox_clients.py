"""Three clients that write as fast as they can for a while: `python -m bench.dropbox_clients NAME URL SECONDS`.

`ours` is the connector's own client with its ceiling raised, `fixed` one that keeps to 10 requests a second and waits
where it is told to, `sdk` the official SDK in four threads with its defaults. Each renames people of the team.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from typing import Any

import aiohttp
import anyio

from pipeline.app.clock import SystemClock
from pipeline.model import Profile
from stages.dropbox.options import DropboxOptions
from stages.dropbox.team import HttpTeam

TOKEN = "sl.sandbox-team-access-token"
CONCURRENCY = 8
FIXED_RATE = 10.0
SDK_THREADS = 4
CEILING = 500.0


def options(url: str, **more: Any) -> DropboxOptions:
    return DropboxOptions(
        api_url=url,
        access_token=TOKEN,
        max_requests_per_second=CEILING,
        max_concurrency=CONCURRENCY,
        **more,
    )


async def _members(team: HttpTeam) -> list[str]:
    pages = [page async for page in team.list_members()]
    return [member.member_id for page in pages for member in page if not member.is_team_admin]


async def ours(url: str, seconds: float) -> None:
    team = HttpTeam(options(url), SystemClock())
    numbers = itertools.count()

    async def work(members: list[str]) -> None:
        while True:
            number = next(numbers)
            await team.update(members[number % len(members)], Profile(given_name=f"Ours {number}"))

    members = await _members(team)
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:
            for _ in range(CONCURRENCY):
                tasks.start_soon(work, members)
    await team.close()


async def fixed(url: str, seconds: float) -> None:
    team = HttpTeam(options(url), SystemClock())
    members = await _members(team)
    await team.close()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        end = time.monotonic() + seconds
        at = time.monotonic()
        for number in itertools.count():
            if at >= end:
                return
            await anyio.sleep(max(0.0, at - time.monotonic()))
            at = max(at + 1 / FIXED_RATE, time.monotonic())
            user = {".tag": "team_member_id", "team_member_id": members[number % len(members)]}
            body = {"user": user, "new_given_name": f"Fixed {number}"}
            async with session.post(f"{url}/2/team/members/set_profile_v2", json=body) as answer:
                await answer.read()
                if answer.status == 429:
                    at = time.monotonic() + float(answer.headers.get("Retry-After", "1"))


def _sdk_client(url: str) -> Any:
    import dropbox
    import requests
    from requests.adapters import HTTPAdapter

    class Loopback(HTTPAdapter):
        def send(self, request: Any, *arguments: Any, **more: Any) -> Any:
            request.url = request.url.replace("https://api.dropboxapi.com", url, 1)
            return super().send(request, *arguments, **more)

    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Loopback())
    return dropbox.DropboxTeam(TOKEN, session=session)


def sdk_invitations_blocking(url: str, requests: int) -> float:
    """CPU seconds of one `add_v2` of twenty through the official SDK: no journal, no log, nothing but the call."""
    from dropbox.team import MemberAddV2Arg

    client = _sdk_client(url)
    client.team_get_info()
    started = time.process_time()
    for number in range(requests):
        people = [
            MemberAddV2Arg(f"s{number}-{n}@example.test", f"Given{n}", "Family", f"sdk:{number}-{n}")
            for n in range(20)
        ]
        client.team_members_add_v2(people)
    return (time.process_time() - started) / requests


async def bare_invitations(url: str, requests: int) -> float:
    """The same through aiohttp alone, as many at once as ours has under way; nothing is looked at in the replies."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    numbers = iter(range(requests))

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            people = [
                {
                    "member_email": f"b{number}-{n}@example.test",
                    "member_given_name": f"Given{n}",
                    "member_surname": "Family",
                    "member_external_id": f"bare:{number}-{n}",
                    "send_welcome_email": True,
                }
                for n in range(20)
            ]
            body = {"new_members": people, "force_async": False}
            async with session.post(f"{url}/2/team/members/add_v2", json=body) as answer:
                await answer.json()

    started = time.process_time()
    async with aiohttp.ClientSession(headers=headers) as session, anyio.create_task_group() as tasks:
        for _ in range(CONCURRENCY):
            tasks.start_soon(work, session)
    return (time.process_time() - started) / requests


def sdk_blocking(url: str, seconds: float) -> None:
    import dropbox.team

    def client() -> Any:
        return _sdk_client(url)

    listed = client().team_members_list_v2(limit=1000).members
    members = [one.profile.team_member_id for one in listed if not one.roles]
    end = time.monotonic() + seconds
    numbers = itertools.count()

    def work() -> None:
        mine = client()
        while time.monotonic() < end:
            number = next(numbers)
            user = dropbox.team.UserSelectorArg.team_member_id(members[number % len(members)])
            mine.team_members_set_profile_v2(user, new_given_name=f"Sdk {number}")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(SDK_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()) + 5)


def main() -> None:
    name, url, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if name == "sdk":
        sdk_blocking(url, seconds)
    else:
        anyio.run({"ours": ours, "fixed": fixed}[name], url, seconds)


if __name__ == "__main__":
    main()
