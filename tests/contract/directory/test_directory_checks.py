"""`check directory`, right by right: whichever is taken away, its own line says so, and no other one fails for it."""

import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pipeline.model import Finding, Source
from sandbox.domain import BLIND_ACCOUNT, BLIND_PASSWORD, SERVICE_ACCOUNT
from sandbox.windows_ldap import WindowsDomain, WindowsServer
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions
from tests.contract.directory.conftest import SambaWorld, WindowsWorld, options_of, windows_options_of

pytestmark = pytest.mark.anyio

LINES = [
    "reach",
    "sign in",
    "domain",
    "clock",
    "changes",
    "tombstones",
    "sync group",
    "members",
    "member changes",
    "large groups",
    "people",
]
_USN_CHANGED, _MEMBER = "bf967a6f-0de6-11d0-a285-00aa003049e2", "bf9679c0-0de6-11d0-a285-00aa003049e2"


class Case:
    """A domain with a group of two people, one of them below another group, and what can be taken from the account."""

    def __init__(self, world: Any, options: Callable[..., DirectoryOptions]) -> None:
        self.world = world
        self.options = options
        people = [world.create_user(name, mail=f"{name}@example.test") for name in ("Ann", "Bob")]
        inner = world.create_group("Inner", [people[0]])
        self.group = world.create_group("Checked", [inner, people[1]])
        world.delete(world.create_user("Gone"))

    async def check(self, **changes: object) -> dict[str, Finding]:
        directory = LdapDirectory(self.options(**changes))
        try:
            found = await directory.check(self.group)
        finally:
            await directory.close()
        assert all(finding.section == "directory" for finding in found)
        return {finding.name: finding for finding in found}

    def hide_attribute(self, name: str, schema_guid: str) -> None:
        if isinstance(self.world, WindowsWorld):
            account = self.world.server.forest.accounts[SERVICE_ACCOUNT.lower()]
            account.unreadable_attributes.add(name.lower())
        else:
            self.world.deny(self.world.admin.dn(self.group), f"(OD;;RP;{schema_guid};;{{sid}})")


@pytest.fixture(params=["windows", pytest.param("samba", marks=pytest.mark.samba)])
async def case(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Case]:
    if request.param == "windows":
        with WindowsServer(WindowsDomain(), request.getfixturevalue("authority")) as server:
            world = WindowsWorld(server, Source.DIRSYNC)
            yield Case(world, lambda **changes: windows_options_of(server, **changes))
            await world.directory.close()
            await world.blind.close()
        return
    domain = request.getfixturevalue("samba_domain")
    samba = SambaWorld(domain, request.getfixturevalue("samba_admin"), Source.DIRSYNC)
    yield Case(samba, lambda **changes: options_of(domain, **changes))
    await samba.directory.close()
    await samba.blind.close()


def wrong(found: dict[str, Finding]) -> dict[str, str]:
    assert all(finding.hint for finding in found.values() if finding.state != "ok"), "each says what to do"
    return {name: finding.state for name, finding in found.items() if finding.state != "ok"}


async def test_an_account_with_all_rights(case: Case) -> None:
    found = await case.check()
    assert list(found) == LINES
    assert wrong(found) == {}
    assert found["people"].detail.startswith("2 people through 2 groups")
    assert found["large groups"].detail.endswith("has 2 direct members, read in full")
    assert found["changes"].detail == "DirSync"


async def test_a_password_that_is_wrong(case: Case) -> None:
    found = await case.check(password="wrong")
    assert wrong(found) == {"sign in": "failed"}


async def test_a_certificate_that_is_not_trusted(case: Case) -> None:
    found = await case.check(ca_file="")
    assert wrong(found) == {"reach": "failed"}
    assert "certificate" in found["reach"].detail


async def test_deletions_out_of_sight(case: Case) -> None:
    domain = case.options().username.partition("@")[2]
    found = await case.check(username=f"{BLIND_ACCOUNT}@{domain}", password=BLIND_PASSWORD)
    assert wrong(found) == {"tombstones": "failed"}


async def test_a_group_that_can_not_be_found(case: Case) -> None:
    case.group = str(uuid.uuid4())
    assert wrong(await case.check()) == {"sync group": "failed"}


async def test_members_that_may_not_be_read(case: Case) -> None:
    case.hide_attribute("member", _MEMBER)
    assert wrong(await case.check()) == {"members": "failed"}


async def test_the_version_of_a_group_that_may_not_be_read(case: Case) -> None:
    case.hide_attribute("uSNChanged", _USN_CHANGED)
    found = await case.check()
    assert wrong(found) == {"large groups": "warning"}
    assert "1,500" in found["large groups"].detail


async def test_members_out_of_sight(case: Case) -> None:
    hidden = case.world.create_user("Hidden", mail="h@example.test")
    case.world.add_members(case.group, hidden)
    case.world.hide(hidden)
    found = await case.check()
    assert wrong(found) == {"people": "warning"}
    assert "1 members can't be seen" in found["people"].detail


async def test_nobody_in_the_group(case: Case) -> None:
    case.group = case.world.create_group("Empty")
    assert wrong(await case.check()) == {"people": "failed"}


async def test_sequence_numbers_by_configuration(case: Case) -> None:
    found = await case.check(change_source="usn")
    assert wrong(found) == {}
    assert found["changes"].detail.startswith("sequence numbers of ")


@pytest.mark.parametrize("case", ["windows"], indirect=True)
async def test_a_read_only_controller(case: Case) -> None:
    case.world.server.controller.read_only = True
    found = await case.check()
    assert wrong(found) == {"changes": "warning"}
    assert "read-only domain controller" in found["domain"].detail


@pytest.mark.parametrize("case", ["windows"], indirect=True)
@pytest.mark.parametrize(("seconds", "said"), [(4000, "ahead of ours"), (-4000, "behind ours")])
async def test_a_clock_that_is_off(case: Case, seconds: int, said: str) -> None:
    case.world.server.forest.advance(seconds=seconds)
    found = await case.check()
    assert wrong(found) == {"clock": "warning"}
    assert said in found["clock"].detail
