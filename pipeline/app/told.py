"""What was mailed last by whoever has no journal to remember it: a small file beside the log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from config.sections import Mail


@dataclass(frozen=True, slots=True)
class Told:
    path: Path

    def has(self, fingerprint: str, repeat: timedelta) -> bool:
        """Whether just this was mailed within `repeat`. A file that can't be read says no."""
        try:
            told = json.loads(self.path.read_text(encoding="utf-8"))
            at = datetime.fromisoformat(told["at"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return bool(told.get("fingerprint") == fingerprint and datetime.now(UTC) - at < repeat)

    def keep(self, fingerprint: str) -> None:
        """OSError when it can't be written."""
        self.path.touch(mode=0o600)
        self.path.write_text(
            json.dumps({"fingerprint": fingerprint, "at": datetime.now(UTC).isoformat()}), encoding="utf-8"
        )

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def repeat_of(mail: Mail) -> timedelta:
    return timedelta(hours=mail.repeat_hours or 24)
