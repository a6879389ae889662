"""From a directory object to what Dropbox shows: cleaned before it is sent (behaviour.md §2.3, §2.4, §4).

One illegal name or address makes Dropbox refuse the whole request that carries it, with the nineteen other
people in it. So nothing leaves that its validators would not accept.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cache

from pipeline.errors import ConfigurationError
from pipeline.model import Entry, Member, Profile

MAX_EMAIL_LENGTH = 255
MAX_NAME_LENGTH = 50
"""In code points: Dropbox's published validators count Python characters, and so do we."""
MAX_EXTERNAL_ID_LENGTH = 64
PLACEHOLDERS = ("{objectGUID}", "{objectSid}")
NO_CHANGES = Profile()

# The type EmailAddress of Dropbox's API specification: ASCII only, no quotes, a last label of 2 to 15 letters.
_EMAIL = re.compile(r"['#&A-Za-z0-9._%+-]+@[A-Za-z0-9-][A-Za-z0-9.-]*\.[A-Za-z]{2,15}")

# The type OptionalNamePart forbids these; the public validator lets the backslash pass, the specification doesn't.
_FORBIDDEN_IN_NAMES = frozenset('/:?*<>"|\\')
# Embeddings, overrides and isolates would turn round what stands next to the name; a byte order mark is no text.
_INVISIBLE = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_JOINER = "\u200d"
# Most names: ASCII letters, digits and what is harmless between them, single spaces. Cleaning leaves them as they are.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9.'-]+(?: [A-Za-z0-9.'-]+)*")

_IDENTITIES = {
    "{objectGUID}": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "{objectSid}": re.compile(r"S-1(-\d+)+"),
}


@dataclass(frozen=True, slots=True)
class CleanedEmail:
    """Either an address that Dropbox accepts, in lower case, or `problem`: why there is none."""

    email: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What a person's entry gives.

    `profile` is for updates and comparisons. `invitation_profile` differs where both names are empty: then it
    has the display name. `email_problem` says why `profile.email` is empty. `notes` tell what was cleaned or
    refused, for people.
    """

    profile: Profile
    invitation_profile: Profile
    email_problem: str = ""
    notes: tuple[str, ...] = ()


def clean_email(raw: str) -> CleanedEmail:
    """Strips and lowers; what Dropbox would refuse is refused here, never repaired."""
    email = raw.strip()
    if not email:
        return CleanedEmail("", "no e-mail")
    if not email.isascii():  # before lowering: the Kelvin sign would turn into an ordinary k
        return CleanedEmail("", f"e-mail {email!r} has characters outside ASCII, which Dropbox refuses")
    if len(email) > MAX_EMAIL_LENGTH:
        return CleanedEmail(
            "", f"e-mail is longer than the {MAX_EMAIL_LENGTH} characters that Dropbox accepts"
        )
    if _EMAIL.fullmatch(email) is None:
        return CleanedEmail("", f"e-mail {email!r} is not an address that Dropbox accepts")
    return CleanedEmail(email.lower())


def clean_name(raw: str) -> str:
    """A name part as Dropbox accepts it: composed (NFC), without forbidden or control characters, at most 50 long.

    Forbidden characters become spaces, runs of white space one space. What is too long is cut between two
    visible characters, not inside one. May be empty. Cleaning twice changes nothing.
    """
    if len(raw) <= MAX_NAME_LENGTH and (not raw or _PLAIN_NAME.fullmatch(raw)):
        return raw
    allowed = "".join(_allowed(character) for character in raw)
    text = " ".join(unicodedata.normalize("NFC", allowed).split())  # composed last: what was between is gone
    return text if len(text) <= MAX_NAME_LENGTH else _cut(text, MAX_NAME_LENGTH)


@cache  # asked for every person; there are as many formats as the configuration has
def check_external_id_format(text: str) -> str:
    """The one placeholder in an `external_id.format`. ConfigurationError when there isn't exactly one."""
    found = [placeholder for placeholder in PLACEHOLDERS for _ in range(text.count(placeholder))]
    rest = text.replace(found[0], "") if found else text
    if len(found) != 1 or "{" in rest or "}" in rest:
        raise ConfigurationError(
            "reading external_id.format",
            f"{text!r} must hold exactly one of {' and '.join(PLACEHOLDERS)}, and no other braces",
        )
    return found[0]


def external_id_of(entry: Entry, external_id_format: str) -> str:
    """The person's external id; empty where the object has no SID to fill in, or the result is too long.

    An id is never cut: what is left might be another person's. ConfigurationError for a bad format.
    """
    placeholder = check_external_id_format(external_id_format)
    identity = entry.guid if placeholder == "{objectGUID}" else entry.sid
    external_id = external_id_format.replace(placeholder, identity)
    return external_id if identity and len(external_id) <= MAX_EXTERNAL_ID_LENGTH else ""


def identity_in(external_id: str, external_id_format: str) -> str:
    """The GUID or SID that an external id of this format carries; empty when it isn't of this format.

    What stands in the place must look like one: a format may be the bare placeholder, and then fits any system's id.
    """
    placeholder = check_external_id_format(external_id_format)
    before, _, after = external_id_format.partition(placeholder)
    if not external_id.startswith(before) or not external_id.endswith(after):
        return ""
    identity = external_id[len(before) : len(external_id) - len(after)]
    return identity if _IDENTITIES[placeholder].fullmatch(identity) else ""


def profile_of(entry: Entry, *, external_id_format: str) -> Mapped:
    """Maps and cleans one entry. ConfigurationError for a bad format; nothing about the person raises."""
    email = clean_email(entry.email)
    notes = [email.problem] if email.problem else []
    given_name = _noted("first name", entry.given_name, notes)
    surname = _noted("last name", entry.surname, notes)
    external_id = external_id_of(entry, external_id_format)
    if not external_id:
        notes.append(f"no external id: {external_id_format!r} can't be filled, or is too long when filled")
    profile = Profile(email=email.email, given_name=given_name, surname=surname, external_id=external_id)
    invitation_profile = profile
    if not given_name and not surname and entry.display_name.strip():
        given_name, surname = split_display_name(entry.display_name)
        invitation_profile = replace(profile, given_name=clean_name(given_name), surname=clean_name(surname))
        notes.append(f"no first and no last name: invited as {entry.display_name.strip()!r}")
    return Mapped(
        profile=profile,
        invitation_profile=invitation_profile,
        email_problem=email.problem,
        notes=tuple(notes),
    )


def split_display_name(display_name: str) -> tuple[str, str]:
    """First and last name out of `Ann Lee`, `Lee, Ann` or `Jan van der Berg`; one word alone is a first name."""
    surname, comma, given_name = (part.strip() for part in display_name.partition(","))
    if comma and surname and given_name:
        return given_name, surname
    words = display_name.replace(",", " ").split()
    if len(words) < 2:
        return "".join(words), ""
    # a last name starts with its particles: van der Berg, de la Cruz
    start = next((place for place in range(1, len(words) - 1) if words[place].islower()), len(words) - 1)
    return " ".join(words[:start]), " ".join(words[start:])


def changes(wanted: Profile, member: Member) -> Profile:
    """Only the fields to set: those that `wanted` has and the member shows differently.

    An empty wanted field is left alone: an update never empties a name. E-mails compare in lower case, names
    as they are once cleaned, so that a name which Dropbox shows in another normal form is not sent for ever.
    """
    email = wanted.email if wanted.email.lower() != member.email.lower() else ""
    given_name = "" if _is_shown(wanted.given_name, member.given_name) else wanted.given_name
    surname = "" if _is_shown(wanted.surname, member.surname) else wanted.surname
    external_id = wanted.external_id if wanted.external_id != member.external_id else ""
    if email or given_name or surname or external_id:
        return Profile(email=email, given_name=given_name, surname=surname, external_id=external_id)
    return NO_CHANGES


def cleaning_of(mapped: Mapped, sent: Profile) -> str:
    """What was done to the names that `sent` carries, as the end of a reason: said once, when they are sent. "" when nothing was."""
    names = {"first name": sent.given_name, "last name": sent.surname, "no first": sent.given_name}
    told = [
        note for note in mapped.notes if any(name and note.startswith(word) for word, name in names.items())
    ]
    return "".join(f"; {note}" for note in told)


def _is_shown(name: str, shown: str) -> bool:
    return name == shown or name == clean_name(shown)


def _allowed(character: str) -> str:
    if character in _INVISIBLE:
        return ""
    # Cc control characters, Cs lone surrogates that can't be encoded
    if character in _FORBIDDEN_IN_NAMES or unicodedata.category(character) in ("Cc", "Cs"):
        return " "
    return character


def _cut(text: str, length: int) -> str:
    """The longest beginning within `length` that ends between two visible characters, where there is one."""
    end = length
    while end > 0 and _continues(text, end):
        end -= 1
    return text[: end or length].rstrip()


def _continues(text: str, place: int) -> bool:
    """Whether the character at `place` belongs to the one before it."""
    character = text[place]
    return (
        character == _JOINER
        or text[place - 1] == _JOINER
        or unicodedata.category(character).startswith("M")  # accents, vowel signs, variation selectors
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
    )


def _noted(word: str, raw: str, notes: list[str]) -> str:
    cleaned = clean_name(raw)
    if cleaned == raw:
        return raw
    if cleaned != " ".join(unicodedata.normalize("NFC", raw).split()):
        notes.append(f"{word} {raw!r} is sent as {cleaned!r}" if cleaned else f"{word} {raw!r} can't be sent")
    return cleaned
