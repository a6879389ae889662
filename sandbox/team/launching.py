"""Whether a route answers at once or with a job."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from sandbox.team.team import Team


class Launching:
    def __init__(self, team: Team) -> None:
        self._team = team
        self.force_once = False
        """Set by a fault for the request at hand."""
        self.fail_once = False

    def launch(
        self,
        route: str,
        poll_route: str,
        work: Callable[[], Any],
        *,
        force: bool = False,
        at_completion: bool | None = None,
    ) -> dict[str, Any]:
        switches = self._team.switches
        wanted = force or self.force_once or self.fail_once
        wanted = wanted or any(fnmatchcase(route, pattern) for pattern in switches.async_routes)
        if not wanted:
            result = work()
            return (
                {".tag": "complete", "complete": result} if isinstance(result, list) else {".tag": "complete"}
            )
        late = switches.async_effect == "completion" if at_completion is None else at_completion
        return self._team.jobs.launch(
            poll_route, work, polls=switches.async_polls, at_completion=late, failed=self.fail_once
        )
