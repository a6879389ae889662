"""From an object to a searchResultEntry: which attributes, in which pieces, with which kind of DN."""

import hashlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.windows_ldap.codes import Code, Refused
from sandbox.windows_ldap.protocol import Found
from sandbox.windows_ldap.record import Record
from sandbox.windows_ldap.schema import Syntax, display_name, is_link, sid_text, syntax_of
from sandbox.windows_ldap.sight import ObjectView, Sight

_RANGE = re.compile(r"range=(\d+)-(\d+|\*)$", re.IGNORECASE)
_BY_NAME_ONLY = "1.1"


@dataclass(frozen=True)
class Style:
    """`extended_dn`: None for plain DNs, 0 for hexadecimal GUID and SID before them, 1 for readable ones (control 529)."""

    extended_dn: int | None = None
    deactivated_links: bool = False
    past_range_is_error: bool = True  # control 1948 makes it none
    order_seed: bytes = b""  # the order of link values is this connection's own


class Rendering:
    def __init__(self, sight: Sight, style: Style, wanted: tuple[str, ...]) -> None:
        """`wanted`: attribute names as the client gave them, with options; none at all means `*`."""
        self._sight = sight
        self._style = style
        self._wanted = wanted or ("*",)

    def entry(self, record: Record) -> Found:
        """Refused(1) for a range that begins past the end."""
        view = ObjectView(record, self._sight, deactivated_links=self._style.deactivated_links)
        return Found(self.dn(record), tuple(self._attributes(view)))

    def dn(self, record: Record) -> str:
        plain = self._sight.replica.dn(record.guid)
        if self._style.extended_dn is None:
            return plain
        sid = record.value("objectsid")
        if self._style.extended_dn == 1:
            parts = [f"<GUID={record.guid}>", *([f"<SID={sid_text(sid)}>"] if sid else [])]
        else:
            parts = [f"<GUID={record.guid.bytes_le.hex()}>", *([f"<SID={sid.hex()}>"] if sid else [])]
        return ";".join([*parts, plain])

    def values(self, attribute: str, stored: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Values as they go out: references become DNs."""
        if syntax_of(attribute) is not Syntax.REFERENCE:
            return stored
        records = self._sight.replica.records
        targets = (records.get(uuid.UUID(bytes_le=value)) for value in stored)
        return tuple(self.dn(target).encode() for target in targets if target)

    def _attributes(self, view: ObjectView) -> Iterator[tuple[str, tuple[bytes, ...]]]:
        given = set[tuple[str, str]]()
        for wanted in self._wanted:
            if wanted == _BY_NAME_ONLY:
                continue
            names = (
                [(name, display_name(name), "") for name in view.stored_names()]
                if wanted == "*"
                else [(base.lower(), base, options) for base, _, options in [wanted.partition(";")]]
            )
            for name, shown, options in names:
                if (name, options) not in given:
                    given.add((name, options))
                    yield from self._pieces(view, name, shown, options)

    def _pieces(
        self, view: ObjectView, name: str, shown: str, options: str
    ) -> Iterator[tuple[str, tuple[bytes, ...]]]:
        stored = view.values(name)
        if not stored:
            return  # not set, or not for this account: the two look alike
        limit = self._sight.controller.limits.max_val_range
        match = _RANGE.match(options)
        if options and not match:
            return
        if not match and len(stored) <= limit:
            yield shown, self.values(name, self._ordered(view.record, name, stored))
            return
        if not match:
            yield shown, ()  # MS-ADTS 3.1.1.3.1.3.3: the attribute itself comes empty, beside its first range
        low = int(match[1]) if match else 0
        high = low + limit - 1
        if match and match[2] != "*":
            high = min(high, int(match[2]))
        yield from self._range(view, name, shown, stored, low, high)

    def _range(
        self, view: ObjectView, name: str, shown: str, stored: tuple[bytes, ...], low: int, high: int
    ) -> Iterator[tuple[str, tuple[bytes, ...]]]:
        if low >= len(stored):
            if self._style.past_range_is_error:
                raise Refused(
                    Code.OPERATIONS_ERROR, "00002121: SvcErr: DSID-020A0EE1, problem 5012 (DIR_ERROR), data 0"
                )
            yield f"{shown};range={low}-*", ()
            return
        ordered = self._ordered(view.record, name, stored)
        end = "*" if high >= len(stored) - 1 else str(high)
        yield f"{shown};range={low}-{end}", self.values(name, ordered[low : high + 1])

    def _ordered(self, record: Record, name: str, stored: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Stable only on one connection and while nothing is written to the object."""
        if not is_link(name) or not self._sight.controller.manners.range_order_moves:
            return stored
        seed = self._style.order_seed + str(record.usn_changed).encode()
        return tuple(
            sorted(stored, key=lambda value: hashlib.md5(seed + value, usedforsecurity=False).digest())
        )
