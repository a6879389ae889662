"""Replies exactly as they go over the wire (section 1)."""

import json
from dataclasses import dataclass, field
from typing import Any

from sandbox.team.identifiers import Identifiers

JSON = "application/json"  # without a charset: the SDK compares for equality
TEXT = "text/plain; charset=utf-8"
STREAM = "application/octet-stream"


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b""
    content_type: str = STREAM
    headers: dict[str, str] = field(default_factory=dict)


def encode(payload: Any) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(", ", ": ")).encode()


def ok(payload: Any) -> Reply:
    return Reply(200, encode(payload), JSON)


def text(status: int, sentence: str) -> Reply:
    return Reply(status, sentence.encode(), TEXT)


def bad_input(route: str, sentence: str) -> Reply:
    return text(400, f'Error in call to API function "{route}": {sentence}')


class Errors:
    """Errors with a summary, whose tail of dots is random."""

    def __init__(self, identifiers: Identifiers) -> None:
        self._identifiers = identifiers

    def _body(self, path: str, error: Any) -> bytes:
        return encode({"error_summary": f"{path}/{self._identifiers.dots()}", "error": error})

    def endpoint(self, error: dict[str, Any]) -> Reply:
        return Reply(409, self._body(error[".tag"], error), JSON)

    def access(self, tag: str) -> Reply:
        return Reply(403, self._body(tag, {".tag": tag}), JSON)

    def auth(self, tag: str, fields: dict[str, str]) -> Reply:
        headers = {"WWW-Authenticate": 'Bearer realm="Dropbox-API"'}
        return Reply(401, self._body(tag, {".tag": tag, **fields}), JSON, headers)

    def too_many(self, form: str, wait: int) -> Reply:
        """The four forms seen in the field (section 5.2); the header is always there."""
        headers = {"Retry-After": str(wait)}
        reason = {".tag": "too_many_requests"}
        if form == "json":
            body = self._body("too_many_requests", {"reason": reason, "retry_after": wait})
        elif form == "json_no_field":
            reason = {".tag": "too_many_write_operations"}
            body = self._body("too_many_write_operations", {"reason": reason})
        elif form == "empty":
            body = b""
        else:
            return Reply(429, b"Too many requests", TEXT, headers)
        return Reply(429, body, JSON, headers)
