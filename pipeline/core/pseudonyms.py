"""Pseudonyms for everything in a journal that names somebody or something of its owner.

Keyed and stable: under one key equal stays equal and different stays different, so that today's rules decide about the
pseudonyms as they did about the persons. Without the key nothing leads back. What is kept on purpose: states, times, numbers, RIDs,
the shape of an address (valid or not), and in free texts the words of this program.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256

from pipeline.core.mapping import MAX_NAME_LENGTH, clean_email, clean_name

_WORD_LENGTH = 10  # letters: 26^10 values, so that two of 100,000 names rarely meet
_GUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_SID = r"S-1(?:-\d+)+"
_EMAIL = r"[^\s<>()\[\]{}\",;:'=]+@[^\s<>()\[\]{}\",;:'=]*[^\s<>()\[\]{}\",;:'=.]"
_OPAQUE = r"\b(?:dbmid|dbtid|dbid|dbgid|g):[A-Za-z0-9_-]+"
_MOMENT = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
_DN = r"\b(?:CN|OU|DC|cn|ou|dc)=(?:[^,\\]|\\.)+?(?:,(?:CN|OU|DC|cn|ou|dc)=(?:[^,;:\\\s)]|\\.| (?=[^(;]*,(?:CN|OU|DC)=))+)+"
_TOKEN = re.compile(
    f"(?P<guid>{_GUID})|(?P<sid>{_SID})|(?P<moment>{_MOMENT})|(?P<opaque>{_OPAQUE})|(?P<dn>{_DN})|(?P<email>{_EMAIL})"
    r"|(?P<number>\b\d+(?:\.\d+)?\b)|(?P<word>\w+)"
)
_WORDS = re.compile(r"\w+")
_RDN = re.compile(r"((?:[^,\\]|\\.)+)(,|$)", re.DOTALL)


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """The words in these texts, for the vocabulary."""
    return frozenset(word.casefold() for text in texts for word in _WORDS.findall(text))


class Pseudonyms:
    """`vocabulary`: words that free texts may keep, case-folded. Names that are told with `know` are replaced all the same."""

    def __init__(self, key: bytes, vocabulary: frozenset[str] = frozenset()) -> None:
        self._key = key
        self._vocabulary = vocabulary
        self._phrases: dict[str, list[tuple[str, str]]] = {}  # first word → (the whole name, its pseudonym)
        self._known: set[str] = set()
        self.text = lru_cache(100_000)(self._text)

    # --- single values

    def guid(self, value: str) -> str:
        if not value:
            return ""
        digits = self._digest("guid", value.lower())[:32]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"

    def sid(self, value: str) -> str:
        """The domain's part is replaced; the RID, by which primary groups are found, stays."""
        parts = value.split("-")
        if len(parts) < 5:  # well-known, as S-1-5-32
            return value
        domain, rid = "-".join(parts[3:-1]), parts[-1]
        digits = self._digest("sid", domain)
        numbers = [str(int(digits[at : at + 8], 16)) for at in (0, 8, 16)]
        return "-".join([*parts[:3], "21", *numbers, rid])

    def opaque(self, value: str) -> str:
        """An id of Dropbox; its kind, up to the colon, stays."""
        if not value:
            return ""
        kind, colon, rest = value.rpartition(":")
        return f"{kind}{colon}{self._word('id', rest)}"

    def email(self, value: str) -> str:
        """Valid stays valid, refused stays refused; letter case is lost."""
        text = value.strip()
        if not text:
            return value
        if clean_email(text).problem:
            # What is wrong with it must stay wrong: only its words are replaced.
            return _WORDS.sub(lambda found: self._word("email", found.group().casefold()), text)
        local, _, domain = text.lower().rpartition("@")
        return f"{self._word('email', local)}@{self.domain(domain)}"

    def domain(self, value: str) -> str:
        return f"{self._word('domain', value.casefold().rstrip('.'))}.example" if value else ""

    def name(self, value: str) -> str:
        """Of a person, a group, an OU, an account. As long as the name where that matters, and cleaned as it was."""
        if not value.strip():
            return value
        cleaned = clean_name(value)
        if not cleaned:
            return value  # nothing but forbidden characters
        pseudonym = self._named(cleaned)
        if cleaned == value:
            return pseudonym
        if len(cleaned) >= MAX_NAME_LENGTH - 1 and len(value.strip()) > len(cleaned):
            return pseudonym + "x" * (len(value) - len(cleaned))  # cut off again when it is cleaned
        forbidden = "".join(character for character in value if not clean_name(character)) or " "
        return f"{pseudonym}{forbidden}"

    def dn(self, value: str) -> str:
        """Part by part, each value as a name."""
        return _RDN.sub(lambda part: self._rdn(part.group(1)) + part.group(2), value)

    # --- texts and documents

    def know(self, names: Iterable[str]) -> None:
        """Names that may stand in free texts: of one word or several, cleaned or not."""
        for name in names:
            for each in {name.strip(), clean_name(name)}:
                first = _WORDS.search(each)
                if first is None or each in self._known:
                    continue
                self._known.add(each)
                known = self._phrases.setdefault(first.group().casefold(), [])
                known.append((each[first.start() :], self.name(each)))
        for known in self._phrases.values():
            known.sort(key=lambda pair: -len(pair[0]))  # the longest name that fits

    def _text(self, value: str) -> str:
        """Ids, addresses, DNs and known names become what they are elsewhere; other words stay only if the program's own."""
        parts, at = [], 0
        while (found := _TOKEN.search(value, at)) is not None:
            parts.append(value[at : found.start()])
            text, at = self._token(value, found)
            parts.append(text)
        parts.append(value[at:])
        return "".join(parts)

    def document(self, value: object) -> object:
        """JSON: every text in it, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._field(key, one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.document(one) for one in value]
        return value

    # --- inside

    def _field(self, key: str, value: object) -> object:
        """A field whose name says what it holds."""
        if isinstance(value, str):
            match key:
                case "email":
                    return self.email(value)
                case "given_name" | "surname" | "display_name" | "group" | "name":
                    return self.name(value)
                case "dn":
                    return self.dn(value)
                case "id":
                    return self.opaque(value)
        return self.document(value)

    def _token(self, value: str, found: re.Match[str]) -> tuple[str, int]:
        """The text for what was found, and where to go on."""
        text, end = found.group(), found.end()
        match found.lastgroup:
            case "guid":
                return self.guid(text), end
            case "sid":
                return self.sid(text), end
            case "opaque":
                return self.opaque(text), end
            case "dn":
                return self.dn(text), end
            case "email":
                return self.email(text), end
            case "moment":
                return text, end
        for name, pseudonym in self._phrases.get(_first_word(text), ()):
            beyond = found.start() + len(name)
            if value.startswith(name, found.start()) and not _is_inside_word(value, beyond):
                return pseudonym, beyond
        if found.lastgroup == "number" or text.casefold() in self._vocabulary:
            return text, end
        return self.name(text), end

    def _rdn(self, part: str) -> str:
        attribute, equals, value = part.partition("=")
        if not equals:
            return self.name(part)
        if attribute.strip().casefold() == "dc":
            return f"{attribute}={self._word('domain', value.casefold())}"
        # A tombstone's: NAME, a line feed or its escape, DEL:GUID.
        name, mark, rest = (
            re.split(r"(\\0ADEL:|\nDEL:)", value, maxsplit=1) if "DEL:" in value else (value, "", "")
        )
        plain = re.sub(r"\\([,\\#+<>;\"= ])", r"\1", name)
        return f"{attribute}={self.name(plain)}{mark}{self.guid(rest)}"

    def _named(self, name: str) -> str:
        """By the folded name, so that names which compare as equal stay equal; in the pattern of its case."""
        word = self._word("name", name.casefold(), max(len(name), _WORD_LENGTH))
        if name.isupper() and len(name) > 1:
            return word.upper()
        return word.capitalize() if name[:1].isupper() else word

    def _word(self, kind: str, value: str, length: int = _WORD_LENGTH) -> str:
        number = int(self._digest(kind, value), 16)
        letters = []
        for _ in range(length):
            number, letter = divmod(number, 26)
            letters.append(chr(ord("a") + letter))
        return "".join(letters)

    def _digest(self, kind: str, value: str) -> str:
        return hmac.new(self._key, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), sha256).hexdigest()


def _first_word(text: str) -> str:
    found = _WORDS.search(text)
    return found.group().casefold() if found else ""


def _is_inside_word(text: str, at: int) -> bool:
    return _WORDS.fullmatch(text[at - 1 : at + 1]) is not None and at < len(text)
