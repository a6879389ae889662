"""The team in a JSON file, so that a sandbox can be stopped and started again."""

import json
import os
import tempfile
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from sandbox.team.groups import Group
from sandbox.team.members import Member
from sandbox.team.team import Team
from sandbox.team.tokens import AccessToken, RefreshToken, Tokens

VERSION = 1
_MOMENTS = frozenset(
    {"invited_on", "joined_on", "suspended_on", "removed_on", "recoverable_until", "created", "expires"}
)


def save(path: Path, team: Team, tokens: Tokens) -> None:
    content = {
        "version": VERSION,
        "team_id": team.id,
        "seats": team.seats,
        "clock_offset_seconds": team.clock.offset.total_seconds(),
        "ids_used": team.identifiers.used,
        "authorising_admin": team.authorising_admin_id,
        "everyone_group": team.groups.everyone_id,
        "deleted_groups": sorted(team.groups.deleted),
        "other_team_emails": sorted(team.other_team_emails),
        "personal_emails": sorted(team.personal_emails),
        "effects": team.effects.as_json(),
        "members": [_plain(asdict(member)) for member in sorted(team.members, key=lambda m: m.seq)],
        "groups": [_plain(_group(group)) for group in team.groups],
        "access_tokens": [_plain(asdict(token)) for token in tokens.access.values()],
        "refresh_tokens": [_plain(asdict(token)) for token in tokens.refresh.values()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load(path: Path, team: Team, tokens: Tokens) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["version"] != VERSION:
        raise ValueError(f"{path}: version {content['version']} is not {VERSION}")
    team.id = content["team_id"]
    team.seats = content["seats"]
    team.clock.advance(content["clock_offset_seconds"])
    team.identifiers.skip(content["ids_used"])
    team.authorising_admin_id = content["authorising_admin"]
    team.groups.everyone_id = content["everyone_group"]
    team.groups.deleted = set(content["deleted_groups"])
    team.other_team_emails = set(content["other_team_emails"])
    team.personal_emails = set(content["personal_emails"])
    team.effects.load(content["effects"])
    for stored in content["members"]:
        values = _lively(stored)
        values["groups"] = frozenset(values["groups"])
        values["groups_before_removal"] = tuple(
            (group, access) for group, access in values["groups_before_removal"]
        )
        team.members.restore(Member(**values))
    for stored in content["groups"]:
        members = stored.pop("members")
        group = Group(**_lively(stored))
        for member_id, access in members:
            group.put(member_id, access)
        team.groups.restore(group)
    for stored in content["access_tokens"]:
        access_token = AccessToken(**{**_lively(stored), "scopes": frozenset(stored["scopes"])})
        tokens.access[access_token.value] = access_token
    for stored in content["refresh_tokens"]:
        refresh_token = RefreshToken(**{**_lively(stored), "scopes": frozenset(stored["scopes"])})
        tokens.refresh[refresh_token.value] = refresh_token


def _group(group: Group) -> dict[str, Any]:
    own = ("id", "name", "external_id", "management", "created")
    body = {entry.name: getattr(group, entry.name) for entry in fields(group) if entry.name in own}
    return {**body, "members": list(group.members.items())}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.isoformat()
        return sorted(value) if isinstance(value, frozenset) else value

    return {name: plain(value) for name, value in values.items()}


def _lively(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if name in _MOMENTS and value is not None else value
        for name, value in values.items()
    }
