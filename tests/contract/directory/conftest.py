"""One neutral world over both implementations: what an administrator does, and the directory under test."""

import itertools
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime

import pytest

from pipeline.model import Checkpoint, Delta, Source
from pipeline.ports import Directory
from sandbox.domain import BLIND_ACCOUNT, BLIND_PASSWORD, SERVICE_ACCOUNT, SERVICE_PASSWORD
from sandbox.samba import SambaDomain
from sandbox.samba_admin import DomainAdministrator
from sandbox.windows_ldap import WindowsDomain, WindowsServer
from stages.directory.entries import sid_text
from stages.directory.ldap import LdapDirectory
from stages.directory.memory import MemoryDirectory
from stages.directory.options import DirectoryOptions

_LDAP_NAMES = {"mail": "mail", "given_name": "givenName", "surname": "sn", "display_name": "displayName"}
_numbers = itertools.count(1)


class World:
    """Every test has an organizational unit of its own; names are unique in the domain."""

    directory: Directory
    blind: Directory
    source: Source
    tells_the_blind_of_deletions = False

    def __init__(self) -> None:
        self.tag = f"t{next(_numbers)}"
        self._checkpoint: Checkpoint | None = None

    def name(self, name: str) -> str:
        return f"{self.tag} {name}"

    async def begin(self) -> None:
        self._checkpoint = await self.directory.start()

    async def poll(self, directory: Directory | None = None) -> dict[str, Delta]:
        """What changed since the last poll, by GUID; pages joined."""
        assert self._checkpoint is not None
        deltas: dict[str, Delta] = {}
        mores = []
        async for page in (directory or self.directory).changes(self._checkpoint):
            for delta in page.deltas:
                assert delta.guid not in deltas
                deltas[delta.guid] = delta
            mores.append(page.more)
            newest = page.checkpoint
        assert mores == [True] * (len(mores) - 1) + [False]
        self._checkpoint = newest
        return deltas

    async def members(self, group: str) -> set[str]:
        members = [target.guid for target in await self.directory.read_members(group)]
        assert len(members) == len(set(members))
        return set(members)

    async def expect_links(
        self, delta: Delta, group: str, *, added: Iterable[str] = (), removed: Iterable[str] = ()
    ) -> None:
        """DirSync says which; sequence numbers say that the group has to be read."""
        if self.source is Source.DIRSYNC:
            assert {target.guid for target in delta.added} == set(added)
            assert {target.guid for target in delta.removed} == set(removed)
            assert not delta.members_unknown
        else:
            assert delta.members_unknown
            now = await self.members(group)
            assert set(added) <= now
            assert not set(removed) & now

    def expect_restored(self, delta: Delta) -> None:
        assert not delta.tombstone
        assert delta.restored is (self.source is Source.DIRSYNC)


class MemoryWorld(World):
    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.admin = MemoryDirectory(source=source, page_size=2)
        self.directory = self.admin
        self.blind = self.admin

    def look_blindly(self) -> Directory:
        self.admin.blind = True
        return self.admin

    def create_user(self, name: str, **fields: object) -> str:
        return self.admin.create_user(self.name(name), ou=self.tag, **fields)

    def create_group(self, name: str, members: Iterable[str] = ()) -> str:
        return self.admin.create_group(self.name(name), ou=self.tag, members=members)

    def create_contact(self, name: str) -> str:
        return self.admin.create_contact(self.name(name), ou=self.tag)

    def create_computer(self, name: str) -> str:
        return self.admin.create_computer(self.name(name).replace(" ", ""), ou=self.tag)

    def create_ou(self, name: str) -> str:
        return f"{self.tag}/{name}"

    def hide(self, guid: str) -> None:
        self.admin.move_out_of_sight(guid)

    def rename_account(self, guid: str, account: str) -> None:
        self.admin.modify(guid, account=account)

    def expire(self, guid: str, at: datetime) -> None:
        self.admin.modify(guid, expires=at)

    def account(self, guid: str) -> str:
        return self.admin.objects[guid].account

    def __getattr__(self, name: str) -> object:
        return getattr(self.admin, name)


class SambaWorld(World):
    def __init__(self, domain: SambaDomain, admin: DomainAdministrator, source: Source) -> None:
        super().__init__()
        self.domain = domain
        self.admin = admin
        self.source = source
        facts = domain.facts
        self.directory = LdapDirectory(options_of(domain, change_source=source.value))
        self.blind = LdapDirectory(
            options_of(
                domain,
                change_source=source.value,
                username=facts.blind_account,
                password=facts.blind_password,
            )
        )
        admin.create_ou(self.tag)

    def look_blindly(self) -> Directory:
        return self.blind

    def create_user(self, name: str, **fields: object) -> str:
        return self.admin.create_user(self.name(name), ou=self.tag, **fields)

    def create_group(self, name: str, members: Iterable[str] = ()) -> str:
        return self.admin.create_group(self.name(name), ou=self.tag, members=members)

    def create_contact(self, name: str) -> str:
        return self.admin.create_contact(self.name(name), ou=self.tag)

    def create_computer(self, name: str) -> str:
        return self.admin.create_computer(self.name(name).replace(" ", ""), ou=self.tag)

    def create_ou(self, name: str) -> str:
        self.admin.create_ou(name, ou=self.tag)
        return f"{self.tag}/{name}"

    def add_members(self, group: str, *members: str) -> None:
        self.admin.add_members(group, *members)

    def modify(self, guid: str, **fields: object) -> None:
        self.admin.modify(guid, **{_LDAP_NAMES[name]: value for name, value in fields.items()})

    def delete_unit(self, ou: str) -> None:
        self.admin.delete(str(self.admin.container(ou)), tree=True)

    def rename_account(self, guid: str, account: str) -> None:
        self.admin.modify(guid, sAMAccountName=account)

    def expire(self, guid: str, at: datetime) -> None:
        self.admin.modify(guid, accountExpires=str(file_time(at)))

    def note(self, guid: str, text: str) -> None:
        """Something of no concern to anybody here."""
        self.admin.modify(guid, description=text)

    def account(self, guid: str) -> str:
        return self.admin.read(guid, "sAMAccountName")["sAMAccountName"][0]

    def hide(self, guid: str) -> None:
        """Into an organizational unit whose content the service account may not read."""
        ou = self.create_ou("out of sight")
        self.deny(self.admin.dn(self.admin.container(ou)), "(D;CI;RPLCLORC;;;{sid})")
        self.admin.move(guid, ou)
        # What the move alone does to inherited rights differs between versions; the result is what counts.
        self.deny(self.admin.dn(guid), "(D;;RPLCLORC;;;{sid})")

    def deny(self, dn: str, sddl: str) -> None:
        account = self.domain.facts.service_account.partition("@")[0]
        raw = self.admin._entry(account, "objectSid")["raw_attributes"]["objectSid"][0]
        folder = self.domain.log_file.parent
        command = ["samba-tool", "dsacl", "set", "-s", str(folder / "smb.conf")]
        command += ["-H", str(folder / "private" / "sam.ldb"), "--action=deny", "--objectdn", dn]
        subprocess.run([*command, "--sddl", sddl.format(sid=sid_text(raw))], check=True, capture_output=True)

    def __getattr__(self, name: str) -> object:
        return getattr(self.admin, name)


class WindowsWorld(World):
    """A domain of its own for every test, behind the Windows-like server, with limits so small that searches and changes
    come in several pages.
    """

    def __init__(self, server: WindowsServer, source: Source) -> None:
        super().__init__()
        assert isinstance(server.forest, WindowsDomain)
        self.server = server
        self.admin = server.forest
        limits = server.controller.limits
        limits.max_page_size, limits.dirsync_least_objects, limits.dirsync_examined = 3, 2, 3
        self.source = source
        # MS-DRSR 4.1.10.5.6: DirSync tells of a deletion even where the object can't be read
        self.tells_the_blind_of_deletions = source is Source.DIRSYNC
        self.directory = LdapDirectory(windows_options_of(server, change_source=source.value))
        self.blind = LdapDirectory(
            windows_options_of(
                server,
                change_source=source.value,
                username=f"{BLIND_ACCOUNT}@{server.forest.dns_name}",
                password=BLIND_PASSWORD,
            )
        )
        self.admin.create_ou(self.tag)

    def look_blindly(self) -> Directory:
        return self.blind

    def create_user(self, name: str, **fields: object) -> str:
        return self.admin.create_user(self.name(name), ou=self.tag, **fields)

    def create_group(self, name: str, members: Iterable[str] = ()) -> str:
        return self.admin.create_group(self.name(name), ou=self.tag, members=members)

    def create_contact(self, name: str) -> str:
        return self.admin.create_contact(self.name(name), ou=self.tag)

    def create_computer(self, name: str) -> str:
        return self.admin.create_computer(self.name(name).replace(" ", ""), ou=self.tag)

    def create_ou(self, name: str) -> str:
        self.admin.create_ou(name, ou=self.tag)
        return f"{self.tag}/{name}"

    def modify(self, guid: str, **fields: object) -> None:
        self.admin.modify(guid, **{_LDAP_NAMES[name]: value for name, value in fields.items()})

    def delete_unit(self, ou: str) -> None:
        self.admin.delete(str(self.admin.container(ou).guid), tree=True)

    def rename_account(self, guid: str, account: str) -> None:
        self.admin.modify(guid, sAMAccountName=account)

    def expire(self, guid: str, at: datetime) -> None:
        self.admin.modify(guid, accountExpires=str(file_time(at)))

    def note(self, guid: str, text: str) -> None:
        """Something of no concern to anybody here."""
        self.admin.modify(guid, description=text)

    def account(self, guid: str) -> str:
        return self.admin.read(guid, "sAMAccountName")["sAMAccountName"][0]

    def hide(self, guid: str) -> None:
        ou = self.create_ou("out of sight")
        self.admin.hide(self.admin.dn(str(self.admin.container(ou).guid)), SERVICE_ACCOUNT)
        self.admin.move(guid, ou)

    def __getattr__(self, name: str) -> object:
        return getattr(self.admin, name)


def file_time(at: datetime) -> int:
    """100-nanosecond steps since 1601."""
    return int((at - datetime(1601, 1, 1, tzinfo=UTC)).total_seconds()) * 10**7


def windows_options_of(server: WindowsServer, /, **changes: object) -> DirectoryOptions:
    settings: dict[str, object] = {
        "servers": (server.ldaps_url,),
        "username": f"{SERVICE_ACCOUNT}@{server.forest.dns_name}",
        "password": SERVICE_PASSWORD,
        "ca_file": str(server.ca_file),
        "timeout_seconds": 10,
    }
    return DirectoryOptions(**{**settings, **changes})


def options_of(samba: SambaDomain, /, **changes: object) -> DirectoryOptions:
    facts = samba.facts
    settings: dict[str, object] = {
        "servers": (facts.ldaps_url,),
        "username": facts.service_account,
        "password": facts.service_password,
        "ca_file": str(facts.ca_file),
        "timeout_seconds": 10,
    }
    if "domain" in changes:
        del settings["servers"]
    return DirectoryOptions(**{**settings, **changes})


@pytest.fixture(scope="session")
def samba_admin(samba_domain: SambaDomain) -> Iterator[DomainAdministrator]:
    with samba_domain.administrator() as admin:
        yield admin


@pytest.fixture(
    params=[
        "memory-dirsync",
        "memory-usn",
        "windows-dirsync",
        "windows-usn",
        pytest.param("samba-dirsync", marks=pytest.mark.samba),
        pytest.param("samba-usn", marks=pytest.mark.samba),
    ]
)
async def world(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[World]:
    where, _, how = request.param.partition("-")
    if where == "memory":
        yield MemoryWorld(Source(how))
        return
    if where == "windows":
        with WindowsServer(WindowsDomain(), request.getfixturevalue("authority")) as server:
            windows = WindowsWorld(server, Source(how))
            yield windows
            await windows.directory.close()
            await windows.blind.close()
        return
    samba = SambaWorld(
        request.getfixturevalue("samba_domain"), request.getfixturevalue("samba_admin"), Source(how)
    )
    yield samba
    await samba.directory.close()
    await samba.blind.close()


@pytest.fixture
def ldap_options(samba_domain: SambaDomain) -> object:
    """A function: the options of the service account, with changes."""
    return lambda **changes: options_of(samba_domain, **changes)
