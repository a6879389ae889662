"""From how a call ended to what the pipeline is told: an Outcome for a write, an error for a read."""

from __future__ import annotations

from typing import TypeVar

from pipeline.errors import ConnectorError, DropboxSetupError
from pipeline.model import Outcome, Verdict
from stages.dropbox.answer import Answer, LostReply, NotSent, Refusal, Reply
from stages.dropbox.classify import outcome_of_refusal
from stages.dropbox.refusal import TOKEN_LACKS_SCOPE

Error = TypeVar("Error", bound=ConnectorError)


def unwanted(answer: Refusal | NotSent | LostReply, operation: str) -> Outcome:
    """A write that did not end with a Reply. Raises DropboxSetupError where no other write would fare better."""
    if isinstance(answer, NotSent):
        return Outcome(
            verdict=Verdict.RETRY,
            tag="not_sent",
            hint=f"{answer.text}; it is tried again",
            retry_after=answer.retry_after,
        )
    if isinstance(answer, LostReply):
        return lost(answer)
    if answer.status == 401 and answer.tag != TOKEN_LACKS_SCOPE:
        raise DropboxSetupError(operation, answer.cause, answer.hint)
    return outcome_of_refusal(answer)


def lost(answer: LostReply) -> Outcome:
    """The reply of a write was lost, whole or in what matters: only the team knows what became of it."""
    return Outcome(
        verdict=Verdict.UNKNOWN,
        tag="reply_lost",
        hint=f"{answer.text}; the member is read back before anything else is sent",
        retry_after=answer.retry_after,
    )


def unreadable(route: str, text: str, request_id: str) -> Outcome:
    """A 200 whose content can't be used: it most likely had its effect."""
    return lost(LostReply(route=route, text=f"the reply could not be read ({text})", request_id=request_id))


_OUTAGE = "the next pass tries again by itself; see the network and proxy of this machine, and the Dropbox status page"


def replied(answer: Answer, operation: str, error: type[Error]) -> Reply:
    """The Reply of a read; everything else raises `error`. An outage is never read as "absent"."""
    if isinstance(answer, Reply):
        return answer
    raise error(operation, answer.cause, answer.hint if isinstance(answer, Refusal) else _OUTAGE)
