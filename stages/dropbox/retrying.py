"""tenacity, wrapped once. Only reads are repeated here; a write whose reply was lost never is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_result,
    stop_after_attempt,
    wait_random_exponential,
)

from pipeline.ports import Clock
from stages.dropbox.answer import Answer, LostReply, NotSent

READ_ATTEMPTS = 4
LONGEST_WAIT_SECONDS = 30.0

_jittered = wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT_SECONDS)


def _wait_seconds(state: RetryCallState) -> float:
    """What the other side asked for, else exponential with jitter."""
    answer = state.outcome.result() if state.outcome is not None else None
    asked = answer.retry_after if isinstance(answer, LostReply | NotSent) else None
    return max(_jittered(state), min(asked or 0.0, LONGEST_WAIT_SECONDS))


def _last_answer(state: RetryCallState) -> Answer:
    if state.outcome is None:
        raise AssertionError("tenacity gave up before the first attempt")
    answer: Answer = state.outcome.result()
    return answer


async def read_repeatedly(attempt: Callable[[], Awaitable[Answer]], clock: Clock) -> Answer:
    """The first Reply or Refusal; after READ_ATTEMPTS without one, the last answer as it is."""
    retrying = AsyncRetrying(
        sleep=clock.sleep,
        stop=stop_after_attempt(READ_ATTEMPTS),
        wait=_wait_seconds,
        retry=retry_if_result(lambda answer: isinstance(answer, LostReply | NotSent)),
        retry_error_callback=_last_answer,
    )

    async def attempted() -> Answer:  # tenacity awaits only what is a coroutine function by itself
        return await attempt()

    answer: Answer = await retrying(attempted)
    return answer
