"""Opaque cursors: sealed, bound to one kind of listing, and void on demand."""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

from sandbox.team.clock import Clock
from sandbox.team.identifiers import Identifiers

_SEAL = 12


class Cursors:
    def __init__(self, clock: Clock, identifiers: Identifiers, lifetime: float | None) -> None:
        self._clock = clock
        self._key = identifiers.secret().encode()
        self._lifetime = lifetime
        self._generation = 0

    def issue(self, kind: str, **state: Any) -> str:
        content = {"k": kind, "g": self._generation, "t": self._clock.now().timestamp(), **state}
        raw = json.dumps(content, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._seal(raw) + raw).decode().rstrip("=")

    def read(self, kind: str, cursor: str) -> dict[str, Any] | None:
        """The state in the cursor, or None if it is not, or no longer, good for this listing."""
        try:
            sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError):
            return None
        raw = sealed[_SEAL:]
        if not hmac.compare_digest(sealed[:_SEAL], self._seal(raw)):
            return None
        state: dict[str, Any] = json.loads(raw)
        if state["k"] != kind or state["g"] != self._generation:
            return None
        if self._lifetime is not None and self._clock.now().timestamp() - state["t"] > self._lifetime:
            return None
        return state

    def _seal(self, raw: bytes) -> bytes:
        return hmac.digest(self._key, raw, hashlib.sha256)[:_SEAL]

    def invalidate(self) -> None:
        self._generation += 1
