"""Who is never touched: the excluded (behaviour.md §2.6).

Excluded is a third answer beside in and out of scope: no action at all, neither an invitation nor a removal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusions:
    """Everything that excludes. In doubt it protects: one hit is enough.

    `email_patterns`: globs (`*`, `?`, `[…]`), compared without regard to case; an empty one matches nothing.
    `guids`: persons by objectGUID. `group_members`: everybody in the exclusion group, through any nesting; the
    caller ends the pass when that group can't be found or read, and never passes an empty set instead.
    """

    email_patterns: tuple[str, ...] = ()
    guids: frozenset[str] = frozenset()
    group_members: frozenset[str] = frozenset()
    group_name: str = ""
    _patterns: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        patterns = tuple((text.strip().lower(), text) for text in self.email_patterns if text.strip())
        object.__setattr__(self, "_patterns", patterns)

    def reason(self, guid: str, *, directory_email: str = "", member_email: str = "") -> str | None:
        """Why this person or member is excluded; None when it is not.

        Both e-mails count: who is protected by an address stays so when only one side has changed it. `guid` is
        empty for a member without a person.
        """
        if guid and guid.lower() in self.guids:
            return "excluded by GUID"
        if guid and guid.lower() in self.group_members:
            return f"in the exclusion group {self.group_name}".rstrip()
        if not self._patterns:
            return None
        emails = {directory_email.strip().lower(), member_email.strip().lower()} - {""}
        for pattern, text in self._patterns:
            if any(fnmatchcase(email, pattern) for email in emails):
                return f"e-mail matches the exclusion {text}"
        return None
