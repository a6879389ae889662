"""The official SDK's validators as the referee of what goes over the wire (reference sheet, section 8).

``check`` judges one payload, ``check_exchange`` a whole recorded exchange. Strict: unknown fields and
unknown tags count as mistakes. A plain module on purpose, so that tests elsewhere can load it by its path.
"""

import importlib
import json
from typing import Any

from stone.backends.python_rsrc import stone_serializers as serializers
from stone.backends.python_rsrc import stone_validators as validators

VOID_ERRORS = "the route defines no 409"


def route(path: str) -> Any:
    """The SDK's description of "team/members/add_v2"."""
    namespace, _, name = path.partition("/")
    version = 1
    if name.endswith(("_v2", "_v3")):
        name, version = name[:-3], int(name[-1])
    key = f"{name}:{version}" if version > 1 else name
    return importlib.import_module(f"dropbox.{namespace}").ROUTES[key]


def check(path: str, kind: str, payload: Any, *, strict: bool = True) -> str | None:
    """kind: arg, result or error. None if all is well, otherwise the validator's complaint."""
    try:
        serializers.json_compat_obj_decode(getattr(route(path), f"{kind}_type"), payload, strict=strict)
    except validators.ValidationError as error:
        return str(error)
    return None


def _parsed(body: Any) -> Any:
    return json.loads(body) if isinstance(body, bytes | bytearray | str) else body


def check_exchange(path: str, request_body: Any, status: int, reply_body: Any) -> list[str]:
    """All complaints about a request and its reply; bodies may be raw or already parsed.

    Of a 400 only the request is judged (which is then expected to be bad), of 401, 403, 429 and 5xx only
    the request too: their bodies belong to no route.
    """
    complaints = []
    try:
        route(path)
    except (KeyError, ModuleNotFoundError):
        return [f"{path}: no such route"]
    try:
        complaint = check(path, "arg", _parsed(request_body))
    except ValueError:
        complaint = "could not decode input as JSON"
    if complaint:
        complaints.append(f"{path} request: {complaint}")
    if status not in (200, 409):
        return complaints
    try:
        reply = _parsed(reply_body)
    except ValueError:
        return [*complaints, f"{path} reply {status}: not JSON"]
    if status == 200:
        complaint = check(path, "result", reply)
    elif isinstance(route(path).error_type, validators.Void):
        complaint = VOID_ERRORS
    elif not isinstance(reply, dict) or "error" not in reply:
        complaint = "no error in the body"
    else:
        complaint = check(path, "error", reply["error"]) or _summary(reply)
    if complaint:
        complaints.append(f"{path} reply {status}: {complaint}")
    return complaints


def _summary(reply: dict[str, Any]) -> str | None:
    summary, tag = reply.get("error_summary", ""), reply["error"][".tag"]
    if not summary.startswith(f"{tag}/") or summary[len(tag) + 1 :].strip("."):
        return f"error_summary {summary!r} does not go with the tag {tag!r}"
    return None
