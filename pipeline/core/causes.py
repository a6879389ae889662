"""The causes that alert, in words (behaviour §10): each constructor makes the one alert of its cause. Pure.

Texts from the directory go into titles and lines as they are; whoever shows them cleans them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.core.alerting import AlertKind, fingerprint_of, kind_of
from pipeline.core.exits import ExitCode
from pipeline.model import Alert, Severity

SHOWN_LINES = 40
"""How many subjects an alert names; the fingerprint covers all of them."""

# Code → (severity, title, remedy). -19 is missing on purpose: it goes to standard error only, since the journal
# that carries the alerts belongs to the other process (clarifications).
_ENDINGS = {
    -1: (Severity.CRITICAL, "this Python version is not supported", "install Python 3.11 or newer"),
    -10: (
        Severity.CRITICAL,
        "the configuration is invalid",
        "fix the key",
    ),
    -11: (
        Severity.CRITICAL,
        "not enough rights on a file",
        "set the mode or owner of the file that is named",
    ),
    -12: (
        Severity.CRITICAL,
        "the directory can't be read",
        "check reach, name and rights with `ad-connector check directory`",
    ),
    -13: (Severity.CRITICAL, "the Dropbox client can't be set up", "run `ad-connector authorize`"),
    -14: (
        Severity.CRITICAL,
        "the team info can't be fetched",
        ExitCode.TEAM_INFO.remedy,
    ),
    -15: (
        Severity.CRITICAL,
        "nobody is in scope, or the sync group is missing",
        "check the sync group; nobody was touched",
    ),
    -16: (Severity.CRITICAL, "the team members can't be fetched", "try again; see the Dropbox status page"),
    -17: (
        Severity.WARNING,
        "not everything could be synced",
        "run `ad-connector explain PERSON` or `explain --group NAME`, try again",
    ),
    -18: (
        Severity.CRITICAL,
        "destructive actions are held by the brake",
        "`ad-connector approve HASH` releases them; or do nothing",
    ),
    -20: (Severity.CRITICAL, "the journal can't be used", "free disk space, restore a backup, or upgrade"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Somebody an alert is about: `label` is an e-mail, a DN or a group's name; `detail` a reason."""

    guid: str
    label: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One action or group that stands as failed. `tag` is the cause that failures are grouped by."""

    guid: str
    label: str
    action: str
    tag: str
    reason: str = ""
    hint: str = ""


def ended_alert(
    exit_code: int,
    *,
    operation: str = "",
    cause: str = "",
    causes: Sequence[str] = (),
    remedy: str = "",
    standing: Iterable[Alert] = (),
) -> Alert | None:
    """Passes end with this code. None for 0 and -19, and for -17 and -18 where `standing` tells the details anyway.

    One key for all codes: another code is a change of the same cause, and only a pass that ends well proves that
    the one before is over (a pass that can't reach the directory says nothing about Dropbox).
    `causes`: `cause` one by one, where it is made of several.
    """
    kinds = {kind_of(alert.key) for alert in standing}
    told = (exit_code == -17 and AlertKind.FAILED in kinds) or (exit_code == -18 and AlertKind.HELD in kinds)
    if exit_code in (0, -19) or told:
        return None
    severity, title, usual_remedy = _ENDINGS.get(
        exit_code, (Severity.CRITICAL, "the pass ended unexpectedly", "see the log, then try again")
    )
    fact = ": ".join(part for part in (operation, cause) if part)
    return Alert(
        key=AlertKind.EXIT_CODE.value,
        severity=severity,
        title=f"{title} (exit code {exit_code})",
        lines=_shown((operation, *causes)) if len(causes) > 1 else (fact,) if fact else (),
        remedy=remedy or usual_remedy,
        # Ports, times and ids in the cause differ from pass to pass and are no news. Whole words: a request's id is hexadecimal.
        fingerprint=fingerprint_of(str(exit_code), operation, re.sub(r"\w*\d\w*", "#", cause)),
    )


def failed_alerts(failures: Iterable[Failure]) -> tuple[Alert, ...]:
    """One alert a tag. It changes when another subject fails for that cause, or one no longer does."""
    by_tag: defaultdict[str, list[Failure]] = defaultdict(list)
    for failure in failures:
        by_tag[failure.tag].append(failure)
    return tuple(_failed_alert(tag, by_tag[tag]) for tag in sorted(by_tag))


def _failed_alert(tag: str, failures: Sequence[Failure]) -> Alert:
    ordered = sorted(failures, key=lambda one: (one.label, one.action, one.guid))
    hints = sorted({one.hint for one in ordered if one.hint})
    return Alert(
        key=f"{AlertKind.FAILED}:{tag}",
        severity=Severity.WARNING,
        title=f"{_number(len(ordered), 'action')} failed: {tag}",
        lines=_shown([_line(one.label, one.action, one.reason) for one in ordered]),
        remedy="; ".join((*hints[:3], "then `ad-connector retry --failed`")),
        fingerprint=fingerprint_of(tag, *sorted(f"{one.guid} {one.action}" for one in ordered)),
    )


def held_alert(
    *,
    digest: str,
    what: str,
    count: int,
    limit: str = "",
    clusters: Sequence[tuple[str, int]] = (),
    by: str = "by the brake",
) -> Alert:
    """A held set. `what` names its subjects in the plural ("leavers", "groups"), `digest` is the approval hash,
    `clusters` are (cause, how many), largest first. Another set has another hash, and so is told again.
    """
    lines = [f"the limit is {limit}"] if limit else []
    lines += [f"{size} of them: {cause}" for cause, size in clusters]
    return Alert(
        key=f"{AlertKind.HELD}:{what}",
        severity=Severity.CRITICAL,
        title=f"{count} {what} held {by}",
        lines=_shown(lines),
        remedy=f"`ad-connector approve {digest}` releases exactly this set; do nothing, and nothing happens to them",
        fingerprint=fingerprint_of(digest),
    )


def seats_alert(waiting: Sequence[Subject], *, seats: int) -> Alert | None:
    """No free seat. One alert however many come to wait: only another number of `seats` is a change."""
    if not waiting:
        return None
    return Alert(
        key=AlertKind.SEATS.value,
        severity=Severity.WARNING,
        title=f"no free seat: {_number(len(waiting), 'person', 'people')} waiting",
        lines=_shown([f"all {seats} seats are taken", *(_line(one.label, one.detail) for one in waiting)]),
        remedy="buy seats or free some; those who wait are invited in this order without further doing",
        fingerprint=fingerprint_of(str(seats)),
    )


def suspension_alert(people: Sequence[Subject]) -> Alert | None:
    """Suspensions made in the admin console that this pass has overridden."""
    if not people:
        return None
    return Alert(
        key=AlertKind.SUSPENSION.value,
        severity=Severity.WARNING,
        title=f"{_number(len(people), 'suspension')} made in the admin console overridden",
        lines=_shown([_line(one.label, one.detail) for one in people]),
        remedy="to keep somebody suspended, disable the person in the directory",
        fingerprint=fingerprint_of(*sorted(one.guid for one in people)),
    )


def right_alert(right: str, *, effects: Sequence[str], remedy: str) -> Alert:
    """The account lacks a right. `right` names it, `effects` say what can't be done without it, or about whom."""
    return Alert(
        key=f"{AlertKind.RIGHT}:{right}",
        severity=Severity.WARNING,
        title=f"missing right: {right}",
        lines=_shown(effects),
        remedy=remedy,
        fingerprint=fingerprint_of(right, *effects),
    )


def skipped_alert(people: Sequence[Subject]) -> Alert | None:
    """Persons who can't be invited or updated as they stand in the directory; `detail` is the reason."""
    if not people:
        return None
    ordered = sorted(people, key=lambda one: (one.detail, one.label, one.guid))
    return Alert(
        key=AlertKind.SKIPPED.value,
        severity=Severity.NOTICE,
        title=f"{_number(len(ordered), 'person', 'people')} skipped",
        lines=_shown([_line(one.label, one.detail) for one in ordered]),
        remedy="correct them in the directory; they are taken up by themselves",
        fingerprint=fingerprint_of(*sorted(f"{one.guid} {one.detail}" for one in ordered)),
    )


def _line(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _shown(lines: Sequence[str]) -> tuple[str, ...]:
    if len(lines) <= SHOWN_LINES:
        return tuple(lines)
    return (*lines[:SHOWN_LINES], f"and {len(lines) - SHOWN_LINES} more")
