"""What the account's rights, the way of reading and the configuration make of a real domain."""

import contextlib
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import CheckpointRefused, DirectoryError
from pipeline.model import Source
from sandbox.samba import SambaDomain
from sandbox.samba_admin import DomainAdministrator
from stages.directory.entries import sid_text
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions

pytestmark = [pytest.mark.anyio, pytest.mark.samba]

Options = Callable[..., DirectoryOptions]


@contextlib.asynccontextmanager
async def opened(options: DirectoryOptions) -> Any:
    directory = LdapDirectory(options)
    try:
        yield directory
    finally:
        await directory.close()


async def test_the_blind_account_fails_the_check_of_tombstones(
    ldap_options: Options, samba_domain: SambaDomain, samba_admin: DomainAdministrator
) -> None:
    samba_admin.delete(samba_admin.create_user("Doomed"))
    facts = samba_domain.facts
    async with opened(ldap_options(username=facts.blind_account, password=facts.blind_password)) as directory:
        found = {finding.name: finding for finding in await directory.check("")}
    assert found["tombstones"].state == "failed"
    assert "dsacls" in found["tombstones"].hint
    async with opened(ldap_options()) as directory:
        found = {finding.name: finding for finding in await directory.check("")}
    assert {finding.state for finding in found.values()} == {"ok"}


async def test_the_right_that_is_gained_is_seen(
    ldap_options: Options, samba_domain: SambaDomain, samba_admin: DomainAdministrator
) -> None:
    samba_admin.create_user("Late Reader", account="svc-late")
    samba_admin.modify("svc-late", unicodePwd='"Sandbox-Late-1"'.encode("utf-16-le"))
    samba_admin.delete(samba_admin.create_user("Gone"))
    options = ldap_options(username="svc-late@example.test", password="Sandbox-Late-1")
    async with opened(options) as directory:
        assert await directory.sees_tombstones() is False
        await samba_domain.grant_tombstone_right("svc-late")
        assert await directory.sees_tombstones() is True
        await samba_domain.strip_tombstone_right("svc-late")


async def test_check_counts_people_through_nested_groups(
    ldap_options: Options, samba_admin: DomainAdministrator
) -> None:
    people = [samba_admin.create_user(f"Counted {number}", mail=f"c{number}@x.test") for number in range(3)]
    inner = samba_admin.create_group("Counted Inner", members=people)
    outer = samba_admin.create_group("Counted Outer", members=[inner, people[0]])
    samba_admin.add_members(inner, outer)
    samba_admin.disable(people[2])
    async with opened(ldap_options()) as directory:
        found = {finding.name: finding for finding in await directory.check("Counted Outer")}
    assert found["people"].detail.startswith("3 people through 2 groups (1 disabled, 0 without mail")


async def test_auto_chooses_dirsync_and_goes_on_with_what_the_checkpoint_says(ldap_options: Options) -> None:
    async with opened(ldap_options(change_source="usn")) as directory:
        numbers = await directory.start()
    async with opened(ldap_options()) as directory:
        assert (await directory.start()).source is Source.DIRSYNC
        assert [page.checkpoint.source async for page in directory.changes(numbers)] == [Source.USN]


async def test_another_mail_attribute_voids_the_checkpoint(ldap_options: Options) -> None:
    async with opened(ldap_options()) as directory:
        checkpoint = await directory.start()
    async with opened(ldap_options(email_attribute="proxyAddresses")) as directory:
        with pytest.raises(CheckpointRefused):
            [page async for page in directory.changes(checkpoint)]


async def test_the_primary_proxy_address_can_be_the_mail(
    ldap_options: Options, samba_admin: DomainAdministrator
) -> None:
    addresses = ["smtp:alias@x.test", "SMTP:Main@x.test", "X500:/o=x"]
    person = samba_admin.create_user("Proxy", proxyAddresses=addresses)
    async with opened(ldap_options(email_attribute="proxyAddresses")) as directory:
        assert (await directory.read_entries([person]))[person].email == "Main@x.test"
    async with opened(ldap_options(email_attribute="userPrincipalName")) as directory:
        assert (await directory.read_entries([person]))[person].email == "proxy@example.test"


async def test_members_that_may_not_be_read_are_no_empty_group(
    ldap_options: Options, samba_domain: SambaDomain, samba_admin: DomainAdministrator
) -> None:
    group = samba_admin.create_group("Shy", members=[samba_admin.create_user("Shy Member")])
    _deny(samba_domain, samba_admin, group, "(OD;;RP;bf9679c0-0de6-11d0-a285-00aa003049e2;;{sid})")
    async with opened(ldap_options()) as directory:
        assert (await directory.find_group("Shy")).guid == group
        with pytest.raises(DirectoryError, match="hidden"):
            await directory.read_members(group)


async def test_an_empty_poll_is_one_request(ldap_options: Options) -> None:
    async with opened(ldap_options()) as directory:
        checkpoint = await directory.start()
        session = await directory._link.session()
        before = session.searches
        await directory.identify()
        assert [page.deltas async for page in directory.changes(checkpoint)] == [()]
        assert session.searches == before + 1


def _deny(domain: SambaDomain, admin: DomainAdministrator, who: str, sddl: str) -> None:
    raw = admin._entry("svc-dropbox", "objectSid")["raw_attributes"]["objectSid"][0]
    folder = domain.log_file.parent
    command = ["samba-tool", "dsacl", "set", "-s", str(folder / "smb.conf"), "--action=deny"]
    command += ["-H", str(folder / "private" / "sam.ldb"), "--objectdn", admin.dn(who)]
    subprocess.run([*command, "--sddl", sddl.format(sid=sid_text(raw))], check=True, capture_output=True)
