"""How an operation says no."""

from typing import Any


class RefusalError(Exception):
    """A 409 with the route's own tag; some tags carry a list or a timestamp."""

    def __init__(self, tag: str, value: Any = None) -> None:
        super().__init__(tag)
        self.tag = tag
        self.value = value

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {".tag": self.tag}
        if self.value is not None:
            error[self.tag] = self.value
        return error


class BadInputError(Exception):
    """A 400 text; the sentence goes behind 'Error in call to API function "...": '."""


class AuthFailureError(Exception):
    """A 401 with its JSON body."""

    def __init__(self, tag: str, **fields: str) -> None:
        super().__init__(tag)
        self.tag = tag
        self.fields = fields


class PlainTextError(Exception):
    """A 400 text that stands alone."""
