"""Admin roles: the v2 role ids and the v1 tiers."""

from typing import Any

from sandbox.team.members import TEAM_ADMIN

ROLES: dict[str, dict[str, str]] = {
    TEAM_ADMIN: {
        "role_id": TEAM_ADMIN,
        "name": "Team admin",
        "description": "Manage everything: members, billing, content and settings.",
    },
    "pid_dbtmr:3456": {
        "role_id": "pid_dbtmr:3456",
        "name": "User management admin",
        "description": "Add, remove, and manage member accounts.",
    },
    "pid_dbtmr:4567": {
        "role_id": "pid_dbtmr:4567",
        "name": "Support admin",
        "description": "Help members with common problems.",
    },
}
TIERS: dict[str, str | None] = {
    "team_admin": TEAM_ADMIN,
    "user_management_admin": "pid_dbtmr:3456",
    "support_admin": "pid_dbtmr:4567",
    "member_only": None,
}
_TIER_OF = {role: tier for tier, role in TIERS.items()}


def tier(role: str | None) -> dict[str, Any]:
    return {".tag": _TIER_OF[role]}
