"""A Dropbox team to practise on: the Business API, OAuth and a human admin, behind plain HTTP on the loopback.

Written from the reference sheet alone and apart from the connector's own client, which it judges.
Start it with ``python -m sandbox.team --help``; in tests use ``TeamSimulator`` as an async context manager.
"""

from sandbox.team.config import ALL_SCOPES, RateLimit, SeedGroup, SeedMember, Switches, TeamConfig
from sandbox.team.effects import Effects, Exchange
from sandbox.team.faults import Fault
from sandbox.team.server import TeamSimulator

__all__ = [
    "ALL_SCOPES",
    "Effects",
    "Exchange",
    "Fault",
    "RateLimit",
    "SeedGroup",
    "SeedMember",
    "Switches",
    "TeamConfig",
    "TeamSimulator",
]
