"""Checkpoints: what they hold, and when one is void."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta

from pipeline.errors import CheckpointRefused
from pipeline.model import Checkpoint, Source
from stages.directory.controls import DIRSYNC_FLAGS
from stages.directory.wire import Controller

OPERATION = "continue from the checkpoint"

# Only classes: a filter sees the state after the change, so that whatever else it asks for could be left unseen, and
# tombstones keep their class (MS-ADTS 3.1.1.5.5.1). Computers are users to the schema. Organizational units are not asked
# for: nothing that we decide depends on a DN.
FILTER = "(|(objectClass=user)(objectClass=group)(objectClass=contact))"

# The mapping, plus what tells deletion, disabling, expiry, primary group, kind and members. `cn` is never delivered.
_ALWAYS = (
    "sAMAccountName",
    "givenName",
    "sn",
    "displayName",
    "name",
    "isDeleted",
    "userAccountControl",
    "accountExpires",
    "primaryGroupID",
    "objectSid",
    "objectClass",
    "groupType",
    "member",
    "lastKnownParent",
)


def change_attributes(email_attribute: str) -> tuple[str, ...]:
    return (*_ALWAYS, email_attribute)


def profile_of(source: Source, domain_guid: str, email_attribute: str) -> str:
    """A hash over all that decides which changes are delivered: with another one, earlier changes may have been missed."""
    facts = [source.value, domain_guid, FILTER, sorted(map(str.lower, change_attributes(email_attribute)))]
    if source is Source.DIRSYNC:
        facts.append(f"{DIRSYNC_FLAGS:#010x}")
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def checkpoint_of(
    source: Source,
    controller: Controller,
    email_attribute: str,
    at: datetime,
    *,
    cookie: bytes = b"",
    usn: int = 0,
) -> Checkpoint:
    return Checkpoint(
        source=source,
        server=controller.host_name,
        ds_service=controller.ds_service,
        invocation_id=controller.invocation_id,
        profile=profile_of(source, controller.domain_guid, email_attribute),
        cookie=cookie,
        usn=usn,
        at=at,
    )


def verify(since: Checkpoint, controller: Controller, email_attribute: str, now: datetime) -> None:
    """CheckpointRefused where `since` may have missed something, or means nothing here."""
    if since.profile != profile_of(since.source, controller.domain_guid, email_attribute):
        raise CheckpointRefused(
            OPERATION,
            "it was taken for another domain, e-mail attribute or way of reading",
            "nothing to do: everything is read afresh",
        )
    if since.ds_service == controller.ds_service and since.invocation_id != controller.invocation_id:
        # The controller was restored from a backup: its sequence numbers begin again from an earlier point.
        raise CheckpointRefused(
            OPERATION,
            f"{controller.host_name} has started a new epoch (it was restored)",
            "nothing to do: everything is read afresh",
        )
    if since.at is not None and now - since.at > timedelta(days=controller.tombstone_days) / 2:
        # Tombstones vanish after their lifetime; half of it is left for clocks and for replication.
        raise CheckpointRefused(
            OPERATION,
            f"it is older than half the tombstone lifetime of {controller.tombstone_days} days",
            "nothing to do: everything is read afresh",
        )
