"""What became of one request, as values: the four ways in which a call can end.

Reply      200, the parsed body
Refusal    the vendor said no: nothing happened
NotSent    it never left us, or was turned away before it was looked at: nothing happened, try later
LostReply  it left and no readable reply came back: the effect is unknown
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    body: Any
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`tag` is the innermost error tag (409, 401, 403), or a word of ours for replies without one.

    `text` is for people, at most 300 characters. `payload` is the `error` object of a JSON body.
    """

    route: str
    status: int
    tag: str
    text: str
    hint: str = ""
    request_id: str = ""
    payload: dict[str, Any] | None = None

    @property
    def cause(self) -> str:
        known = f", request {self.request_id}" if self.request_id else ""
        return f"{self.route} was refused: {self.text} (status {self.status}{known})"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    route: str
    text: str
    retry_after: float | None = None

    @property
    def cause(self) -> str:
        return f"{self.route}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostReply:
    route: str
    text: str
    retry_after: float | None = None
    request_id: str = ""

    @property
    def cause(self) -> str:
        known = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.route}: {self.text}{known}"


Answer = Reply | Refusal | NotSent | LostReply
