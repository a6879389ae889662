"""Writing members: one request each (invitations up to 20 in one), and an Outcome each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pipeline.errors import TeamReadError
from pipeline.model import ActionKind, Outcome, Profile, Verdict
from pipeline.ports import Clock
from stages.dropbox import jobs, routes
from stages.dropbox.answer import LostReply, NotSent, Refusal, Reply
from stages.dropbox.classify import outcome_after_look, outcome_for, rule_for
from stages.dropbox.client import Client
from stages.dropbox.outcomes import replied, unreadable, unwanted
from stages.dropbox.reading import get_members
from stages.dropbox.refusal import BAD_REQUEST
from stages.dropbox.wire import (
    NewMember,
    ProfileChange,
    RemoveRequest,
    SuspendRequest,
    UnreadableReply,
    UserRequest,
    member_from,
    selector,
    tag_of,
    unsendable_tag,
)

INVITES_A_CALL = 20  # team.stone, members/add
POLL_SECONDS = (1.0, 2.0, 3.0)  # the last one repeats
JOB_BOUND_SECONDS = 120.0

_UNSENDABLE_HINTS = {
    "invalid_email": "Dropbox does not accept this e-mail address: correct it in the directory",
    "invalid_name": 'Dropbox does not accept this name (50 characters, none of / : ? * < > " |): correct it in the directory',
    "invalid_external_id": "the external id is longer than the 64 characters that Dropbox accepts: shorten external_id.format",
}


class MemberWriter:
    """Never repeats a write; a lost reply is UNKNOWN. Raises DropboxSetupError only."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    # --- invitations -----------------------------------------------------------------------------------

    async def invite(self, profiles: Sequence[Profile], *, send_welcome: bool) -> Sequence[Outcome]:
        """One Outcome for each profile, in order. What can't be sent fails alone, before the request is made."""
        if len(profiles) > INVITES_A_CALL:
            raise ValueError(f"at most {INVITES_A_CALL} invitations in one request, not {len(profiles)}")
        outcomes: dict[int, Outcome] = {}
        entries: dict[int, NewMember] = {}
        emails: set[str] = set()
        for index, profile in enumerate(profiles):
            try:
                entry = _new_member(profile, send_welcome=send_welcome)
            except ValidationError as error:
                outcomes[index] = _unsendable(error)
                continue
            if entry.member_email in emails:
                outcomes[index] = Outcome(
                    verdict=Verdict.FAILED,
                    tag="email_twice",
                    hint="two people have this e-mail: correct one of them in the directory",
                )
                continue
            emails.add(entry.member_email)
            entries[index] = entry
        outcomes.update(await self._add(entries))
        return [outcomes[index] for index in range(len(profiles))]

    async def _add(self, entries: Mapping[int, NewMember]) -> dict[int, Outcome]:
        if not entries:
            return {}
        body = {"new_members": [entry.body() for entry in entries.values()], "force_async": False}
        answer = await self._client.call(routes.ADD, body, is_write=True)
        if isinstance(answer, Reply):
            return await self._added(entries, answer)
        if (
            isinstance(answer, Refusal)
            and answer.status == 400
            and answer.tag == BAD_REQUEST
            and len(entries) > 1
        ):
            # One entry that Dropbox's own checks refuse takes the whole request with it, and nothing has
            # happened: halving finds it, and the others get their invitation.
            indexes = list(entries)
            middle = len(indexes) // 2
            first = await self._add({index: entries[index] for index in indexes[:middle]})
            return first | await self._add({index: entries[index] for index in indexes[middle:]})
        outcome = unwanted(answer, "inviting")
        return dict.fromkeys(entries, outcome)

    async def _added(self, entries: Mapping[int, NewMember], reply: Reply) -> dict[int, Outcome]:
        body, job_id = reply.body, ""
        if tag_of(body) == "async_job_id":
            job_id = _job_id(body)
            polled = await self._poll(routes.ADD_STATUS, job_id)
            if isinstance(polled, Outcome):
                return dict.fromkeys(entries, polled)
            body = polled
        items = body.get("complete") if isinstance(body, dict) and tag_of(body) == "complete" else None
        if not isinstance(items, list):
            return dict.fromkeys(
                entries, unreadable(routes.ADD, f"it says {tag_of(body)!r}", reply.request_id)
            )
        return _matched(entries, items, reply.request_id)

    # --- single members --------------------------------------------------------------------------------

    async def update(self, member_id: str, changes: Profile) -> Outcome:
        if changes == Profile():
            return Outcome(verdict=Verdict.ALREADY)
        try:
            request = ProfileChange(
                user=selector(member_id),
                new_email=changes.email or None,
                new_given_name=changes.given_name or None,
                new_surname=changes.surname or None,
                new_external_id=changes.external_id or None,
            )
        except ValidationError as error:
            return _unsendable(error)
        answer = await self._client.call(routes.SET_PROFILE, request.body(), is_write=True)
        if not isinstance(answer, Reply):
            return await self._refused(answer, member_id, "updating a member")
        info = answer.body.get("member_info") if isinstance(answer.body, dict) else None
        try:
            return Outcome(verdict=Verdict.DONE, member=member_from(info))
        except UnreadableReply as error:
            return unreadable(routes.SET_PROFILE, str(error), answer.request_id)

    async def suspend(self, member_id: str, *, wipe_data: bool) -> Outcome:
        request = SuspendRequest(user=selector(member_id), wipe_data=wipe_data)
        return await self._void(routes.SUSPEND, request.body(), member_id, "suspending a member")

    async def unsuspend(self, member_id: str) -> Outcome:
        body = UserRequest(user=selector(member_id)).body()
        return await self._void(routes.UNSUSPEND, body, member_id, "unsuspending a member")

    async def recover(self, member_id: str) -> Outcome:
        body = UserRequest(user=selector(member_id)).body()
        return await self._void(routes.RECOVER, body, member_id, "recovering a member")

    async def send_welcome(self, member_id: str) -> Outcome:
        # The argument is the bare selector here, not {"user": …}.
        body = selector(member_id).body()
        return await self._void(routes.SEND_WELCOME, body, member_id, "sending a welcome mail")

    async def remove(self, member_id: str, *, wipe_data: bool) -> Outcome:
        request = RemoveRequest(user=selector(member_id), wipe_data=wipe_data)
        answer = await self._client.call(routes.REMOVE, request.body(), is_write=True)
        if not isinstance(answer, Reply):
            return await self._refused(answer, member_id, "removing a member")
        body = answer.body
        if tag_of(body) == "async_job_id":
            polled = await self._poll(routes.REMOVE_STATUS, _job_id(body))
            if isinstance(polled, Outcome):
                return polled
            body = polled
        if tag_of(body) == "complete":
            return Outcome(verdict=Verdict.DONE)
        return unreadable(routes.REMOVE, f"it says {tag_of(body)!r}", answer.request_id)

    async def _void(self, route: str, body: Any, member_id: str, operation: str) -> Outcome:
        """A route whose result is nothing: `null`, `{}` and an empty body all mean done."""
        answer = await self._client.call(route, body, is_write=True)
        if isinstance(answer, Reply):
            return Outcome(verdict=Verdict.DONE)
        return await self._refused(answer, member_id, operation)

    async def _refused(
        self, answer: Refusal | NotSent | LostReply, member_id: str, operation: str
    ) -> Outcome:
        if (
            not isinstance(answer, Refusal)
            or answer.status != 409
            or not rule_for(answer.route, answer.tag).is_ambiguous
        ):
            return unwanted(answer, operation)
        try:
            found = await get_members(self._client, member_ids=[member_id], external_ids=(), emails=())
        except TeamReadError as error:
            return Outcome(verdict=Verdict.UNKNOWN, tag=answer.tag, hint=str(error))
        return outcome_after_look(answer.route, answer.tag, found[0] if found else None)

    # --- jobs ------------------------------------------------------------------------------------------

    async def _poll(self, route: str, job_id: str) -> Any:
        """The body that ended the job, or an UNKNOWN Outcome: not told within the bound, or told that it failed."""
        if not job_id.strip():  # a blank id is a relic of the vendor's and can't be asked for
            return _job_unknown("no_job_id", job_id, "Dropbox did not say how it went")
        await jobs.tell(job_id)
        deadline = self._clock.monotonic() + JOB_BOUND_SECONDS
        polls = 0
        while self._clock.monotonic() < deadline:
            await self._clock.sleep(POLL_SECONDS[min(polls, len(POLL_SECONDS) - 1)])
            polls += 1
            answer = await self._client.call(route, {"async_job_id": job_id}, is_write=False)
            if isinstance(answer, Refusal) and answer.status == 409:
                return _job_unknown(answer.tag, job_id, rule_for(route, answer.tag).hint)
            if not isinstance(answer, Reply):
                return _job_unknown("job_out_of_sight", job_id, answer.cause)
            tag = tag_of(answer.body)
            if tag == "failed":
                return _job_unknown("job_failed", job_id, "Dropbox says that the job failed")
            if tag != "in_progress":
                return answer.body
        return _job_unknown("job_unfinished", job_id, f"the job did not end within {JOB_BOUND_SECONDS:.0f} s")

    async def ask_job(self, kind: ActionKind, job_id: str) -> Mapping[str, Outcome] | None:
        """See stages.dropbox.jobs."""
        route = routes.ADD_STATUS if kind is ActionKind.INVITE else routes.REMOVE_STATUS
        answer = await self._client.call(route, {"async_job_id": job_id}, is_write=False)
        if isinstance(answer, Refusal) and answer.status == 409:
            return {}  # unknown by now, or ended in a way that Dropbox can't tell: the members are read instead
        reply = replied(answer, "asking after a job", TeamReadError)
        if tag_of(reply.body) == "in_progress":
            return None
        items = reply.body.get("complete") if isinstance(reply.body, dict) else None
        told = {_item_email(item): _item_outcome(item, reply.request_id) for item in items or ()}
        return {email: outcome for email, outcome in told.items() if outcome.verdict is not Verdict.UNKNOWN}


def _job_unknown(tag: str, job_id: str, text: str) -> Outcome:
    return Outcome(
        verdict=Verdict.UNKNOWN,
        tag=tag,
        job_id=job_id.strip(),
        hint=f"{text}; the member is read back before anything else is sent",
    )


def _job_id(body: Any) -> str:
    value = body.get("async_job_id") if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


def _new_member(profile: Profile, *, send_welcome: bool) -> NewMember:
    return NewMember(
        member_email=profile.email,
        member_given_name=profile.given_name or None,
        member_surname=profile.surname or None,
        member_external_id=profile.external_id or None,
        send_welcome_email=send_welcome,
    )


def _unsendable(error: ValidationError) -> Outcome:
    tag = unsendable_tag(error)
    return Outcome(
        verdict=Verdict.FAILED, tag=tag, hint=_UNSENDABLE_HINTS.get(tag, "the value can't be sent to Dropbox")
    )


def _matched(entries: Mapping[int, NewMember], items: Sequence[Any], request_id: str) -> dict[int, Outcome]:
    """Items to entries by position, checked by e-mail: the order is implied by the vendor, not promised."""
    emails = [_item_email(item) for item in items]
    by_email = dict(zip(emails, items, strict=True))
    is_whole = len(items) == len(entries)
    outcomes = {}
    for position, (index, entry) in enumerate(entries.items()):
        item = items[position] if is_whole else None
        if item is None or emails[position] not in ("", entry.member_email):
            item = by_email.get(entry.member_email)
        outcomes[index] = _item_outcome(item, request_id)
    return outcomes


def _item_email(item: Any) -> str:
    if not isinstance(item, dict):
        return ""
    tag = tag_of(item)
    holder, key = (item.get("profile"), "email") if tag == "success" else (item, tag)
    email = holder.get(key) if isinstance(holder, dict) else None
    return email.lower() if isinstance(email, str) else ""


def _item_outcome(item: Any, request_id: str) -> Outcome:
    if item is None:
        return unreadable(routes.ADD, "this person is missing in it", request_id)
    tag = tag_of(item)
    if tag != "success":
        return outcome_for(routes.ADD, tag)
    try:
        return Outcome(verdict=Verdict.DONE, member=member_from(item))
    except UnreadableReply as error:
        return unreadable(routes.ADD, str(error), request_id)
