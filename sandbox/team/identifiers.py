"""Made-up ids in the forms of section 1.9; the same seed gives the same ids."""

import random
import string

_ALPHABET = string.ascii_letters + string.digits + "-_"


class Identifiers:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._count = 0

    def _text(self, length: int) -> str:
        # A counter inside keeps ids unique whatever the dice say.
        self._count += 1
        tail = format(self._count, "06x")
        return "".join(self.random.choices(_ALPHABET, k=length - len(tail))) + tail

    def member(self) -> str:
        return "dbmid:AA" + self._text(33)

    def account(self) -> str:
        return "dbid:AA" + self._text(33)  # exactly 40 characters

    def group(self) -> str:
        self._count += 1
        return f"g:{self.random.getrandbits(64):016x}{self._count:016x}"

    def job(self) -> str:
        return self._text(20)

    def session(self) -> str:
        return "dbwsid:" + format(self.random.getrandbits(160), "x")

    def secret(self, length: int = 43) -> str:
        return self._text(length)

    def request(self) -> str:
        return format(self.random.getrandbits(128), "032x")

    def dots(self) -> str:
        return "." * self.random.randrange(4)

    def skip(self, count: int) -> None:
        """Go on after ids that were loaded from a file."""
        self._count = max(self._count, count)

    @property
    def used(self) -> int:
        return self._count
