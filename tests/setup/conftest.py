"""A directory, a team and a mail server for the set-up to be tried against, and a pseudo-terminal to try it in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from sandbox.certificates import Authority
from sandbox.mailbox import Mailbox
from sandbox.population import STANDARD, load
from sandbox.team import SeedMember, TeamConfig, TeamSimulator
from sandbox.windows_ldap import WindowsDomain, WindowsServer
from tests.setup.dialogue import MAIL_ACCOUNT, MAIL_PASSWORD, Outside


@pytest.fixture
def outside(tmp_path: Path, authority: Authority) -> Iterator[Outside]:
    domain = WindowsDomain()
    load(STANDARD, domain)
    domain.create_group("Synced Groups", members=["Project Apollo"])
    folder = tmp_path / "connector"
    folder.mkdir()
    admin = SeedMember("it-admin@example.test", "Ines", "Admin", admin=True)
    team = TeamSimulator(TeamConfig(team_name="Sandbox", seats=500, members=(admin,)))
    mailbox = Mailbox(authority, username=MAIL_ACCOUNT, password=MAIL_PASSWORD)
    with (
        WindowsServer(domain, authority) as server,
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(team),
        portal.wrap_async_context_manager(mailbox),
    ):
        yield Outside(folder, server, team, mailbox)
