"""Asynchronous jobs: an id, a number of polls that say in_progress, then the result."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.team.clock import Clock
from sandbox.team.identifiers import Identifiers
from sandbox.team.refusal import RefusalError


@dataclass
class Job:
    kind: str
    """The route that asks after it."""
    polls_left: int
    work: Callable[[], Any] | None
    """Still to be done; None once it is done."""
    launched: datetime
    result: Any = None
    failed: bool = False


class Jobs:
    def __init__(self, clock: Clock, identifiers: Identifiers) -> None:
        self.lifetime: timedelta | None = None
        self._clock = clock
        self._identifiers = identifiers
        self._jobs: dict[str, Job] = {}

    def launch(
        self, kind: str, work: Callable[[], Any], *, polls: int, at_completion: bool, failed: bool
    ) -> dict[str, Any]:
        job = Job(kind, polls, work, self._clock.now(), failed=failed)
        if not at_completion:
            self._do(job)
        job_id = self._identifiers.job()
        self._jobs[job_id] = job
        return {".tag": "async_job_id", "async_job_id": job_id}

    @staticmethod
    def _do(job: Job) -> None:
        if job.work is not None and not job.failed:
            job.result = job.work()
        job.work = None

    def poll(self, kind: str, job_id: str) -> dict[str, Any]:
        job = self._jobs.get(job_id)
        if job is None or job.kind != kind:
            raise RefusalError("invalid_async_job_id")
        if self.lifetime is not None and self._clock.now() - job.launched >= self.lifetime:
            self._do(job)
            raise RefusalError("invalid_async_job_id")
        if job.polls_left > 0:
            job.polls_left -= 1
            return {".tag": "in_progress"}
        self._do(job)
        if job.failed:
            if "members/add/" in kind:
                return {".tag": "failed", "failed": "The job failed."}
            # The closed unions of the other jobs know no failure (section 2, remove job status).
            raise RefusalError("internal_error")
        complete: dict[str, Any] = {".tag": "complete"}
        if isinstance(job.result, list):
            complete["complete"] = job.result
        elif isinstance(job.result, dict):
            complete.update(job.result)
        return complete

    def forget(self) -> None:
        self._jobs.clear()
