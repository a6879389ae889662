"""The lines of `check directory`: every right and every fact by itself, so that the admin knows which one is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from pipeline.errors import ConnectorError
from pipeline.model import Entry, Finding, Kind
from stages.directory import dirsync, reader, usn
from stages.directory.dirsync import DirSyncRefused
from stages.directory.faults import CredentialsRefused, LdapRefusal
from stages.directory.kerberos_faults import KdcUnreachable, TicketMissing
from stages.directory.options import DirectoryOptions, Target
from stages.directory.root import read_highest_usn
from stages.directory.wire import Searcher

SECTION = "directory"
OK, WARNING, FAILED = "ok", "warning", "failed"
ADDRESSES = "addresses"
"""The line that stands in place of the people where nobody has an e-mail."""

_WORRYING_SKEW_SECONDS = 300.0  # what Kerberos tolerates; beyond it somebody's clock is wrong
# Inherited (/I:T), else only deletions made on the very server that is asked are visible on a Samba domain of several
# controllers: a tombstone that came by replication has no other rights than those of the container (measured).
_TOMBSTONE_RIGHT = (
    'as a domain administrator: dsacls "CN=Deleted Objects,{base_dn}" /takeownership, then '
    'dsacls "CN=Deleted Objects,{base_dn}" /I:T /g {account}:LCRP'
)


class CheckedSession(Searcher, Protocol):
    @property
    def target(self) -> Target: ...


async def check_directory(
    open_session: Callable[[], Awaitable[CheckedSession]], options: DirectoryOptions, group_reference: str
) -> tuple[Finding, ...]:
    """Never raises for what the directory does; the first line that fails may end the list."""
    try:
        session = await open_session()
    except (CredentialsRefused, TicketMissing, KdcUnreachable) as error:
        return (_failed("sign in", error),)
    except ConnectorError as error:
        return (_failed("reach", error),)
    controller = session.controller
    findings = [
        Finding(
            SECTION,
            "reach",
            OK,
            f"{session.target.url} ({controller.host_name}), TLS verified",
        ),
        Finding(SECTION, "sign in", OK, f"as {options.account}"),
        _domain(session),
        _clock(session),
    ]
    for name, step in (
        ("changes", _changes),
        ("tombstones", _tombstones),
    ):
        try:
            findings.append(await step(session, options))
        except ConnectorError as error:
            findings.append(_failed(name, error))
    if group_reference:
        findings.extend(await _group(session, options, group_reference))
    return tuple(findings)


def _domain(session: CheckedSession) -> Finding:
    controller = session.controller
    kind = "read-only domain controller" if controller.read_only else "writable domain controller"
    return Finding(SECTION, "domain", OK, f"{controller.base_dn}, {kind}, synchronised")


def _clock(session: CheckedSession) -> Finding:
    controller = session.controller
    if controller.clock is None or controller.asked_at is None:
        return Finding(SECTION, "clock", WARNING, "the domain controller does not tell its time")
    skew = (controller.clock - controller.asked_at).total_seconds()
    if abs(skew) > _WORRYING_SKEW_SECONDS:
        return Finding(
            SECTION,
            "clock",
            WARNING,
            f"the domain controller's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours",
            "set this machine's clock by the domain's: expiry dates and waiting times are counted by it",
        )
    return Finding(SECTION, "clock", OK, f"within {max(1, round(abs(skew)))} s of the domain controller's")


async def _changes(session: CheckedSession, options: DirectoryOptions) -> Finding:
    name, wanted = "changes", options.change_source
    refused: DirSyncRefused | None = None
    if wanted != "usn":
        try:
            await dirsync.fresh_cookie(session, options.email_attribute)
        except DirSyncRefused as error:
            if wanted == "dirsync":
                return _failed(name, error)
            refused = error
        else:
            return Finding(SECTION, name, OK, "DirSync")
    usn.demand_epoch(session)
    highest = await read_highest_usn(session.search)
    where = f"sequence numbers of {session.controller.host_name}, now at {highest}"
    if refused is None:
        return Finding(SECTION, name, OK, where)
    return Finding(
        SECTION,
        name,
        WARNING,
        f"{where}, since DirSync is refused: {refused.cause}",
        "works, but a change of the domain controller means reading everything afresh; a writable one offers DirSync",
    )


async def _tombstones(session: CheckedSession, options: DirectoryOptions) -> Finding:
    sight = await reader.sees_tombstones(session)
    if sight is True:
        return Finding(SECTION, "tombstones", OK, "the account sees deleted objects")
    right = _TOMBSTONE_RIGHT.format(base_dn=session.controller.base_dn, account=options.account)
    if sight is False:
        return Finding(
            SECTION,
            "tombstones",
            FAILED,
            "the account does not see deleted objects: people who are deleted would be suspended, never removed",
            right,
        )
    return Finding(
        SECTION,
        "tombstones",
        WARNING,
        "nothing deleted is to be seen, so the right can't be proven",
        f"delete a test account and check again; if it still shows this, {right}",
    )


async def _group(session: CheckedSession, options: DirectoryOptions, reference: str) -> list[Finding]:
    try:
        group = await reader.find_group(session, reference, options.email_attribute)
    except ConnectorError as error:
        return [_failed("sync group", error)]
    found = [Finding(SECTION, "sync group", OK, f"{group.dn} ({group.guid})")]
    try:
        members = await reader.read_members(session, group.guid)
        found.append(Finding(SECTION, "members", OK, f"{len(members)} direct members read in full"))
        if options.change_source != "usn" and not session.controller.read_only:
            found.extend(await _compared(session, options, group, {target.guid for target in members}))
        found.extend(await _reached(session, options, group))
    except ConnectorError as error:
        found.append(_failed("members", error))
    return found


async def _compared(
    session: CheckedSession, options: DirectoryOptions, group: Entry, members: set[str]
) -> list[Finding]:
    """Whether DirSync delivers the members of this very group; nothing to say where it can't be compared."""
    name = "member changes"
    try:
        told = await dirsync.members_from_the_beginning(session, group.guid, options.email_attribute)
    except (DirSyncRefused, LdapRefusal):
        return []  # said in the line about changes
    if told is None:
        return []
    if told == members:
        return [Finding(SECTION, name, OK, "DirSync tells the same members as the group")]
    return [
        Finding(
            SECTION,
            name,
            FAILED,
            f"DirSync tells {len(told)} members of the group, reading it {len(members)}",
            'set directory.change_source = "usn", and tell us of this domain controller',
        )
    ]


async def _reached(session: CheckedSession, options: DirectoryOptions, group: Entry) -> list[Finding]:
    """Walks the nest as the connector does: any depth, cycles, primary groups."""
    waiting, seen = [group], {group.guid}
    people: dict[str, Entry] = {}
    groups = others = unseen = 0
    largest, most = group, 0
    while waiting:
        current = waiting.pop()
        groups += 1
        guids = [target.guid for target in await reader.read_members(session, current.guid)]
        if len(guids) > most:
            largest, most = current, len(guids)
        if current.sid:
            rid = int(current.sid.rpartition("-")[2])
            guids.extend(await reader.read_primary_members(session, rid))
        fresh = [guid for guid in dict.fromkeys(guids) if guid not in seen]
        seen.update(fresh)
        entries = await reader.read_entries(session, fresh, options.email_attribute)
        unseen += len(fresh) - len(entries)
        for entry in entries.values():
            if entry.kind is Kind.USER:
                people[entry.guid] = entry
            elif entry.kind is Kind.GROUP:
                waiting.append(entry)
            else:
                others += 1
    missing = sum(1 for person in people.values() if not person.email)
    disabled = sum(1 for person in people.values() if person.disabled)
    detail = (
        f"{len(people)} people through {groups} groups ({disabled} disabled, {missing} without "
        f"{options.email_attribute}; {others} contacts, computers and the like are skipped)"
    )
    return [
        await _large(session, largest, most),
        _people(options, detail, len(people), missing=missing, unseen=unseen),
    ]


async def _large(session: CheckedSession, group: Entry, members: int) -> Finding:
    """Windows hands out more than 1,500 members in parts, and only `uSNChanged` tells that the parts fit together."""
    name, fact = "large groups", f"the largest, {group.name}, has {members} direct members, read in full"
    if await reader.is_version_readable(session, group.guid):
        return Finding(SECTION, name, OK, fact)
    return Finding(
        SECTION,
        name,
        WARNING,
        f"{fact}; but uSNChanged of it can't be read, so a group of more than 1,500 members could not be",
        "give the service account the right to read all properties of the groups",
    )


def _people(options: DirectoryOptions, detail: str, people: int, *, missing: int, unseen: int) -> Finding:
    if not people:
        return Finding(
            SECTION, "people", FAILED, detail, "put people into the sync group, or name another group"
        )
    if missing == people:
        return Finding(
            SECTION,
            ADDRESSES,
            FAILED,
            detail,
            f"nobody would get an account: name the attribute that holds the addresses; {options.email_attribute} is empty",
        )
    if unseen:
        return Finding(
            SECTION,
            "people",
            WARNING,
            f"{detail}; {unseen} members can't be seen",
            "they are of another domain, or the account lacks the right to read them",
        )
    return Finding(SECTION, "people", OK, detail)


def _failed(name: str, error: ConnectorError) -> Finding:
    return Finding(SECTION, name, FAILED, f"{error.operation}: {error.cause}", error.hint)
