"""What the set-up tests an answer against: the real directory, the real team, the real mail server, the real disk.

Every probe takes settings as they would be, and answers findings as `check` shows them. None of them raises for what the
outside does, none writes to Dropbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from config.questions import Probe
from config.secrets import readable_by_others, rights_fault
from config.settings import Settings
from pipeline.app import compose
from pipeline.app.clock import SystemClock
from pipeline.errors import ConnectorError
from pipeline.model import Entry, Finding, Kind
from stages.directory.checks import ADDRESSES
from stages.directory.reach import check_reach

_PATIENCE_SECONDS = 10
"""Somebody sits and waits: a server that needs longer is told of, and may be kept all the same."""
_SOMEBODY = "somebody@example.invalid"
"""Stands for sender and recipients while only the connection is tested: nothing is sent."""

_SIGN_IN = frozenset({"reach", "sign in", "domain", "clock", "changes", "tombstones"})
_GROUP = frozenset({"sync group", "members", "member changes", "large groups", "people", ADDRESSES})
_EMAILS = frozenset({"people", ADDRESSES})


async def probe(kind: Probe, settings: Settings, group: str = "") -> Sequence[Finding]:
    """The findings of one test; empty where there is nothing to test. `group` is the one that Probe.GROUP looks at."""
    act = _PROBES.get(kind)
    if act is None:
        return ()
    try:
        return await act(settings, group)
    except ConnectorError as error:
        return [Finding("set-up", error.operation, "failed", error.cause, error.hint)]


async def groups_like(settings: Settings, text: str) -> tuple[tuple[Entry, ...], bool]:
    """Groups to choose from, and whether there are more. DirectoryError, ConfigurationError."""
    directory = compose.directory_of(_hasty(settings), SystemClock())
    try:
        return await directory.find_groups_like(text)
    finally:
        await directory.close()


def _hasty(settings: Settings) -> Settings:
    section = settings.directory
    return settings.model_copy(
        update={
            "directory": section.model_copy(
                update={"timeout_seconds": min(section.timeout_seconds, _PATIENCE_SECONDS)}
            )
        }
    )


async def _reach(settings: Settings, _group: str) -> Sequence[Finding]:
    return await _reached(settings, None)


async def _trust(settings: Settings, _group: str) -> Sequence[Finding]:
    return await _reached(settings, str(settings.directory.ca_file or ""))


async def _reached(settings: Settings, ca_file: str | None) -> Sequence[Finding]:
    section = settings.directory
    return await check_reach(
        section.servers,
        section.domain,
        start_tls=section.start_tls,
        timeout_seconds=_PATIENCE_SECONDS,
        ca_file=ca_file,
    )


async def _directory(settings: Settings, group: str, names: frozenset[str]) -> Sequence[Finding]:
    directory = compose.directory_of(_hasty(settings), SystemClock())
    try:
        findings = await directory.check(group)
    finally:
        await directory.close()
    # What else fails is of interest only where it kept these from being looked at: it was told with an earlier answer.
    own = [finding for finding in findings if finding.name in names]
    return own or [finding for finding in findings if finding.state == "failed"]


async def _keytab(settings: Settings, _group: str) -> Sequence[Finding]:
    """It is as good as the password. That it holds the account's key is seen when the account is named."""
    file = settings.directory.keytab
    if file is None:
        return ()
    if readable_by_others(status := file.stat()):
        hint = f"chmod 600 {file}, and its owner the account that runs the connector"
        return [Finding("directory", "keytab", "failed", rights_fault(file, status), hint)]
    return [Finding("directory", "keytab", "ok", f"{file} is its owner's alone")]


async def _sign_in(settings: Settings, _group: str) -> Sequence[Finding]:
    return await _directory(settings, "", _SIGN_IN)


async def _group(settings: Settings, group: str) -> Sequence[Finding]:
    # Whether its people have an e-mail is asked with the next answer, the attribute.
    return [
        replace(finding, state="warning") if finding.name == ADDRESSES else finding
        for finding in await _directory(settings, group, _GROUP)
    ]


async def _group_of_groups(settings: Settings, group: str) -> Sequence[Finding]:
    """The group sync group: what is in it directly or deeper does not matter yet, but some group has to be."""
    directory = compose.directory_of(_hasty(settings), SystemClock())
    try:
        found = await directory.find_group(group)
        targets = await directory.read_members(found.guid)
        entries = await directory.read_entries([target.guid for target in targets])
    finally:
        await directory.close()
    count = sum(entry.kind is Kind.GROUP for entry in entries.values())
    detail = f"{found.dn}: {count} groups directly in it"
    if count:
        return [Finding("directory", "group sync group", "ok", detail)]
    hint = "put the groups to sync into it; people who are directly in it are ignored"
    return [Finding("directory", "group sync group", "failed", detail, hint)]


async def _emails(settings: Settings, _group: str) -> Sequence[Finding]:
    return await _directory(settings, settings.users.sync_group, _EMAILS)


async def _team(settings: Settings, _group: str) -> Sequence[Finding]:
    team = compose.team_of(settings, SystemClock())
    try:
        return await team.check()
    finally:
        await team.close()


async def _log(settings: Settings, _group: str) -> Sequence[Finding]:
    path = settings.log.path
    was_there = path.exists()
    try:
        with path.open("ab"):
            pass
        if not was_there:
            path.unlink()
    except OSError as error:
        hint = (
            f"make the folder {path.parent} and let the connector's account write there, or name another file"
        )
        return [Finding("log", "file", "failed", f"{path}: {error.strerror}", hint)]
    return [Finding("log", "file", "ok", f"{path} can be written")]


async def _mail(settings: Settings, *, send: bool, signs_in: bool) -> Sequence[Finding]:
    section = settings.mail
    changes: dict[str, object] = {"enabled": True}
    if not send:
        changes |= {"sender": _SOMEBODY, "recipients": (_SOMEBODY,)}
    if not signs_in:
        changes["username"] = ""
    mailer = compose.mailer_of(section.model_copy(update=changes))
    return () if mailer is None else await mailer.check(send_mail=send)


async def _mail_reach(settings: Settings, _group: str) -> Sequence[Finding]:
    findings = await _mail(settings, send=False, signs_in=False)
    return [finding for finding in findings if finding.name != "sign-in"]


async def _mail_sign_in(settings: Settings, _group: str) -> Sequence[Finding]:
    return await _mail(settings, send=False, signs_in=True)


async def _mail_send(settings: Settings, _group: str) -> Sequence[Finding]:
    findings = await _mail(settings, send=True, signs_in=True)
    return findings[-1:]


_PROBES: Mapping[Probe, Callable[[Settings, str], Awaitable[Sequence[Finding]]]] = {
    Probe.REACH: _reach,
    Probe.TRUST: _trust,
    Probe.KEYTAB: _keytab,
    Probe.SIGN_IN: _sign_in,
    Probe.GROUP: _group,
    Probe.GROUP_OF_GROUPS: _group_of_groups,
    Probe.EMAILS: _emails,
    Probe.TEAM: _team,
    Probe.LOG: _log,
    Probe.MAIL_REACH: _mail_reach,
    Probe.MAIL_SIGN_IN: _mail_sign_in,
    Probe.MAIL_SEND: _mail_send,
}
