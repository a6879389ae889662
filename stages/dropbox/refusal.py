"""An error reply as a Refusal: its tag in whatever form the body has, and what the admin can do about the call.

What a tag of a route (409) means for a person stands in `classify`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from stages.dropbox.answer import Refusal
from stages.dropbox.wire import ErrorBody

EXPIRED_TAGS = frozenset({"expired_access_token", "invalid_access_token", "status_401"})
"""401: another token may help. An unreadable 401 is taken for one of them."""

APP_LACKS_SCOPE = "app_missing_scope"
TOKEN_LACKS_SCOPE = "missing_scope"  # noqa: S105 -- the vendor's tag
WRONG_TOKEN_KIND = "wrong_token_kind"  # noqa: S105 -- a word of ours
BAD_REQUEST = "bad_request"

DEFAULT_RETRY_SECONDS_JSON = 1.0  # auth.stone, RateLimitError.retry_after
DEFAULT_RETRY_SECONDS_TEXT = 5.0  # what the vendor's SDK takes when nothing is said
LONGEST_RETRY_SECONDS = (
    3600.0  # whoever asks for more is asked again once an hour: one slip must not end the sync for years
)

_AUTHORIZE = "run `ad-connector authorize`"
_ACCESS_HINTS = {
    "expired_access_token": f"the token has expired: {_AUTHORIZE} for one that renews itself",
    "invalid_access_token": f"the token was revoked or is not Dropbox's: {_AUTHORIZE}",
    "user_suspended": f"the admin who authorised the connector is suspended: {_AUTHORIZE} as another team admin",
    "route_access_denied": "the app may not call this route: compare its permissions in the App Console with those that "
    "`ad-connector check dropbox` finds missing",
    "invalid_account_type": "the team's plan does not include this: a Dropbox team with member management is needed",
    "team_access_denied": "the team's plan or policy does not allow this app: ask Dropbox support",
    "no_permission": f"the admin who authorised the connector lacks the right: {_AUTHORIZE} as a team admin",
}


def refusal_from(route: str, status: int, headers: Mapping[str, str], raw: bytes) -> Refusal:
    """`headers` with names in lower case."""
    body = ErrorBody(raw)
    tag, hint = body.tag, ""
    if status == 401 and tag == TOKEN_LACKS_SCOPE:
        scope = (body.payload or {}).get("required_scope", "")
        hint = f"the token lacks the scope {scope!s}: {_AUTHORIZE} again (a token never gains scopes later)"
    elif status in {401, 403}:
        hint = _ACCESS_HINTS.get(
            tag, f"Dropbox denies access ({tag or 'no reason given'}): {_AUTHORIZE} as a team admin"
        )
    elif status == 400:
        tag, hint = _bad_request(body.text)
    elif status == 404 or 300 <= status < 400:
        tag, hint = tag or "no_such_route", "check dropbox.api_url and the proxy"
    return Refusal(
        route=route,
        status=status,
        tag=tag or f"status_{status}",
        text=body.text,
        hint=hint,
        request_id=headers.get("x-dropbox-request-id", ""),
        payload=body.payload,
    )


def _bad_request(text: str) -> tuple[str, str]:
    """400 comes as a sentence. The ones that an admin can mend are told apart by their wording."""
    lacking = re.search(r"required scope '([^']+)'", text)
    if lacking:
        hint = f"the app itself lacks the scope {lacking[1]}: enable it on the Permissions tab of the App Console, then "
        return APP_LACKS_SCOPE, f"{hint}{_AUTHORIZE}"
    if "specific Dropbox user account" in text:
        return (
            WRONG_TOKEN_KIND,
            f"the token belongs to one user, not to the team: {_AUTHORIZE} as a team admin",
        )
    if "access token" in text and "malformed" in text:
        return "invalid_access_token", f"the token is damaged: {_AUTHORIZE}"
    return BAD_REQUEST, "Dropbox does not accept the request as it is: check the person's name and e-mail"


def retry_after_seconds(headers: Mapping[str, str], raw: bytes, now: datetime) -> float:
    """How long a 429 keeps us out. Header and body may both speak, or neither: the longer one is believed."""
    body = ErrorBody(raw)
    in_body = body.retry_after_seconds
    asked = (header_seconds(headers, now), None if in_body is None else _bounded(in_body))
    if said := [seconds for seconds in asked if seconds is not None]:
        return max(said)
    return DEFAULT_RETRY_SECONDS_JSON if body.payload is not None else DEFAULT_RETRY_SECONDS_TEXT


def header_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Retry-After in either form of RFC 9110, section 10.2.3, up to LONGEST_RETRY_SECONDS; None where absent or unreadable."""
    value = headers.get("retry-after", "").strip()
    try:
        return _bounded(float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return _bounded((moment - now).total_seconds())
    except (ValueError, OverflowError):
        return None


def _bounded(seconds: float) -> float | None:
    """None for what is no number (NaN)."""
    return None if math.isnan(seconds) else min(max(0.0, seconds), LONGEST_RETRY_SECONDS)
