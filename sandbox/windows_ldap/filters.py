"""Search filters (RFC 4511, 4.5.1.7): read from the wire, and compiled to a function of three answers.

True, False, or None for "undefined": an attribute that the account may not read neither matches nor fails to match, so that
`(!(mail=x))` doesn't betray it (MS-ADTS 3.1.1.3.1.3).
"""

import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from sandbox.windows_ldap import ber
from sandbox.windows_ldap.ber import BerError, Reader
from sandbox.windows_ldap.names import key_of
from sandbox.windows_ldap.schema import Syntax, category_named, sid_bytes, syntax_of

BIT_AND = "1.2.840.113556.1.4.803"
BIT_OR = "1.2.840.113556.1.4.804"
IN_CHAIN = "1.2.840.113556.1.4.1941"


class View(Protocol):
    """An object as one account sees it."""

    def values(self, attribute: str) -> Collection[bytes] | None:
        """None where the account may not read the attribute; references as 16 bytes of objectGUID."""

    def reaches(self, attribute: str, target: bytes) -> bool:
        """Whether a chain of this link attribute leads to the object `target` (IN_CHAIN)."""


class Names(Protocol):
    """What makes sense of names in assertions."""

    @property
    def base_dn(self) -> str: ...

    def resolve(self, text: str) -> uuid.UUID | None:
        """The objectGUID of what `text` (a DN or an extended one) names."""


@dataclass(frozen=True)
class Group:
    operator: str  # & | !
    parts: tuple["Filter", ...]

    def __str__(self) -> str:
        return f"({self.operator}{''.join(map(str, self.parts))})"


@dataclass(frozen=True)
class Present:
    attribute: str

    def __str__(self) -> str:
        return f"({self.attribute}=*)"


@dataclass(frozen=True)
class Compare:
    attribute: str
    operator: str  # = >= <=  ~= counts as =
    value: bytes

    def __str__(self) -> str:
        return f"({self.attribute}{self.operator}{_shown(self.value)})"


@dataclass(frozen=True)
class Substring:
    attribute: str
    first: bytes
    middle: tuple[bytes, ...]
    last: bytes

    def __str__(self) -> str:
        return (
            f"({self.attribute}={'*'.join(_shown(part) for part in (self.first, *self.middle, self.last))})"
        )


@dataclass(frozen=True)
class Extensible:
    attribute: str
    rule: str
    value: bytes

    def __str__(self) -> str:
        return f"({self.attribute}:{self.rule}:={_shown(self.value)})"


Filter = Group | Present | Compare | Substring | Extensible


def _shown(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if text and text.isprintable():
        return text
    return "".join(f"\\{byte:02x}" for byte in value)


def decode_filter(fields: Reader) -> Filter:
    """BerError where it is none."""
    tag, body = fields.next()
    inner = Reader(body)
    match tag:
        case 0xA0 | 0xA1:
            parts = []
            while inner:
                parts.append(decode_filter(inner))
            return Group("&" if tag == 0xA0 else "|", tuple(parts))
        case 0xA2:
            return Group("!", (decode_filter(inner),))
        case 0xA3 | 0xA5 | 0xA6 | 0xA8:
            operator = {0xA5: ">=", 0xA6: "<="}.get(tag, "=")
            return Compare(inner.text(), operator, inner.take(ber.OCTETS))
        case 0xA4:
            return _decode_substring(inner)
        case 0x87:
            return Present(body.decode())
        case 0xA9:
            found = dict(inner.rest())
            return Extensible(
                found.get(0x82, b"").decode(), found.get(0x81, b"").decode(), found.get(0x83, b"")
            )
    raise BerError(f"no filter has the tag {tag:#04x}")


def _decode_substring(inner: Reader) -> Substring:
    attribute = inner.text()
    first, middle, last = b"", [], b""
    for tag, part in Reader(inner.take(ber.SEQUENCE)).rest():
        if tag == 0x80:
            first = part
        elif tag == 0x81:
            middle.append(part)
        else:
            last = part
    return Substring(attribute, first, tuple(middle), last)


# -------------------------------------------------------------------------------------------------------- evaluating

Verdict = bool | None
Predicate = Callable[[View], Verdict]
Key = object


def compile_filter(wanted: Filter, names: Names) -> Predicate:
    match wanted:
        case Group("!", (inner,)):
            return _negation(compile_filter(inner, names))
        case Group(operator, parts):
            if operator == "|" and (one_of := _one_of(parts, names)):
                return one_of
            compiled = [compile_filter(part, names) for part in parts]
            return _all(compiled) if operator == "&" else _any(compiled)
        case Present(attribute):
            return _presence(attribute.lower())
        case Compare():
            return _comparison(wanted, names)
        case Substring():
            return _substring(wanted)
        case Extensible():
            return _extensible(wanted, names)


def candidates(wanted: Filter) -> frozenset[uuid.UUID] | None:
    """The only objects that can match, where the filter names them by objectGUID; None where it doesn't."""
    match wanted:
        case Compare(attribute, "=", value) if attribute.lower() == "objectguid":
            return frozenset((uuid.UUID(bytes_le=value),)) if len(value) == 16 else frozenset()
        case Group("|", parts):
            found = [candidates(part) for part in parts]
            if all(one is not None for one in found):
                return frozenset().union(*(one for one in found if one is not None))
        case Group("&", parts):
            for part in parts:
                if (one := candidates(part)) is not None:
                    return one
    return None


def key_in(attribute: str, value: bytes, names: Names) -> Key:
    """What an asserted value is compared by; a value that makes no sense equals nothing."""
    try:
        match syntax_of(attribute):
            case Syntax.OCTETS:
                is_text = attribute.lower() == "objectsid" and value[:2].upper() == b"S-"
                return sid_bytes(value.decode()) if is_text else value
            case Syntax.NUMBER:
                return int(value)
            case Syntax.NAME:
                text = value.decode()
                return key_of(
                    category_named(text, names.base_dn) if attribute.lower() == "objectcategory" else text
                )
            case Syntax.REFERENCE:
                target = names.resolve(value.decode())
                return target.bytes_le if target else object()
    except Exception:  # noqa: BLE001  # whatever a client makes up
        return object()
    return _folded(value)


def _key_stored(attribute: str, value: bytes) -> Key:
    match syntax_of(attribute):
        case Syntax.OCTETS | Syntax.REFERENCE:
            return value
        case Syntax.NUMBER:
            return int(value)
        case Syntax.NAME:
            return key_of(value.decode())
    return _folded(value)


def _folded(value: bytes) -> str:
    return value.decode(errors="replace").lower()


def _negation(inner: Predicate) -> Predicate:
    def negated(view: View) -> Verdict:
        verdict = inner(view)
        return None if verdict is None else not verdict

    return negated


def _all(parts: list[Predicate]) -> Predicate:
    def every(view: View) -> Verdict:
        answer: Verdict = True
        for part in parts:
            verdict = part(view)
            if verdict is False:
                return False
            if verdict is None:
                answer = None
        return answer

    return every


def _any(parts: list[Predicate]) -> Predicate:
    def some(view: View) -> Verdict:
        answer: Verdict = False
        for part in parts:
            verdict = part(view)
            if verdict is True:
                return True
            if verdict is None:
                answer = None
        return answer

    return some


def _one_of(parts: Iterable[Filter], names: Names) -> Predicate | None:
    """Many values of one attribute: a look-up instead of a walk."""
    compared = [part for part in parts if isinstance(part, Compare) and part.operator == "="]
    attributes = {part.attribute.lower() for part in parts if isinstance(part, Compare)}
    if len(compared) != len(tuple(parts)) or len(attributes) != 1:
        return None
    attribute = attributes.pop()
    keys = {key_in(attribute, part.value, names) for part in compared}
    return _on_values(
        attribute, lambda values: any(_key_stored(attribute, value) in keys for value in values)
    )


def _on_values(attribute: str, test: Callable[[Collection[bytes]], bool]) -> Predicate:
    def tested(view: View) -> Verdict:
        values = view.values(attribute)
        return None if values is None else test(values)

    return tested


def _presence(attribute: str) -> Predicate:
    return _on_values(attribute, bool)


def _comparison(wanted: Compare, names: Names) -> Predicate:
    attribute = wanted.attribute.lower()
    key = key_in(attribute, wanted.value, names)
    if wanted.operator == "=":
        return _on_values(
            attribute, lambda values: any(_key_stored(attribute, value) == key for value in values)
        )
    if not isinstance(key, int | str):
        return lambda _: None
    rises = wanted.operator == ">="

    def ordered(values: Collection[bytes]) -> bool:
        for value in values:
            stored = _key_stored(attribute, value)
            if (
                isinstance(stored, int)
                and isinstance(key, int)
                and (stored >= key if rises else stored <= key)
            ):
                return True
            if (
                isinstance(stored, str)
                and isinstance(key, str)
                and (stored >= key if rises else stored <= key)
            ):
                return True
        return False

    return _on_values(attribute, ordered)


def _substring(wanted: Substring) -> Predicate:
    attribute = wanted.attribute.lower()
    first, last = _folded(wanted.first), _folded(wanted.last)
    middle = [_folded(part) for part in wanted.middle]

    def fits(value: bytes) -> bool:
        text = _folded(value)
        if not text.startswith(first):
            return False
        position = len(first)
        for part in middle:
            found = text.find(part, position)
            if found < 0:
                return False
            position = found + len(part)
        return text.endswith(last) and len(text) - len(last) >= position

    return _on_values(attribute, lambda values: any(map(fits, values)))


def _extensible(wanted: Extensible, names: Names) -> Predicate:
    attribute = wanted.attribute.lower()
    if wanted.rule == IN_CHAIN and syntax_of(attribute) is Syntax.REFERENCE:
        target = names.resolve(_folded(wanted.value))
        raw = target.bytes_le if target else b""
        return lambda view: (
            None if view.values(attribute) is None else bool(raw) and view.reaches(attribute, raw)
        )
    if wanted.rule in (BIT_AND, BIT_OR) and syntax_of(attribute) is Syntax.NUMBER:
        try:
            mask = int(wanted.value)
        except ValueError:
            return lambda _: None
        if wanted.rule == BIT_AND:
            return _on_values(attribute, lambda values: any(int(value) & mask == mask for value in values))
        return _on_values(attribute, lambda values: any(int(value) & mask for value in values))
    return lambda _: None  # a rule that AD doesn't know is undefined
