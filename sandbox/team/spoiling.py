"""What faults do to a reply that is otherwise right."""

import json
from typing import Any

from sandbox.team.wire import JSON, STREAM, Errors, Reply, encode

GARBAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in to the network.</body></html>"
INVENTED_TAG = "a_tag_from_the_future"


def instead(kind: str, errors: Errors, route: str, fault: Any) -> Reply | None:
    """The reply that a fault puts in the place of an answer, before any effect."""
    if kind == "429":
        return errors.too_many(fault.form, fault.retry_after)
    if kind == "401":
        return errors.auth(fault.tag or "invalid_access_token", {})
    if kind == "403":
        return errors.access(fault.tag or "team_access_denied")
    if kind == "400":
        sentence = (
            fault.tag
            or f'Error in call to API function "{route}": request body: could not decode input as JSON'
        )
        return Reply(400, sentence.encode(), "text/plain; charset=utf-8")
    if kind == "invalid_cursor":
        return errors.endpoint({".tag": "bad_cursor" if route.startswith("team_log") else "invalid_cursor"})
    if kind == "reset":
        return errors.endpoint({".tag": "reset", "reset": fault.value})
    if kind == "error":
        error = {".tag": fault.tag}
        if fault.value is not None:
            error[fault.tag] = fault.value
        return errors.endpoint(error)
    return lost(kind, fault)


def lost(kind: str, fault: Any) -> Reply | None:
    """Server trouble, whether the effect took place or not."""
    if kind.startswith("500"):
        return Reply(500, b"", STREAM)
    if kind.startswith("503"):
        return Reply(503, b"Service Unavailable", "text/plain", {"Retry-After": str(fault.retry_after)})
    if kind.startswith("html"):
        return Reply(200, GARBAGE, "text/html")
    return None


def spoil(kind: str, reply: Reply, errors: Errors, fault: Any) -> Reply:
    """The reply as it arrives, after the effect."""
    if kind == "truncated_json":
        return Reply(
            reply.status, reply.body[: max(1, len(reply.body) // 2)], reply.content_type, reply.headers
        )
    if kind == "empty_body":
        return Reply(reply.status, b"", reply.content_type, reply.headers)
    if kind == "unknown_field" and reply.content_type == JSON:
        return Reply(reply.status, encode(_widened(json.loads(reply.body))), JSON, reply.headers)
    if kind == "unknown_tag":
        tag = fault.tag or INVENTED_TAG
        if fault.where == "result" and reply.status == 200:
            return Reply(200, encode(_retagged(json.loads(reply.body), tag)), JSON, reply.headers)
        return errors.endpoint({".tag": tag})
    return lost(kind, fault) or reply


def _widened(value: Any) -> Any:
    if isinstance(value, list):
        return [_widened(item) for item in value]
    if isinstance(value, dict):
        return {**{key: _widened(item) for key, item in value.items()}, "field_from_the_future": {"a": [1]}}
    return value


def _retagged(value: Any, tag: str) -> Any:
    """One unknown tag at the place where it hurts: a member's status, else an item's, else the reply's own."""
    if isinstance(value, list):
        return [_retagged(value[0], tag), *value[1:]] if value else value
    if not isinstance(value, dict):
        return value
    if "profile" in value:
        return {**value, "profile": {**value["profile"], "status": {".tag": tag}}}
    for key in ("complete", "members", "members_info", "member_info", "events"):
        if value.get(key):
            items = value[key]
            if key == "complete" and items[0].get("profile"):
                email = items[0]["profile"]["email"]
                return {**value, key: [{".tag": tag, tag: email}, *items[1:]]}
            return {**value, key: _retagged(items, tag)}
    if "event_type" in value:
        return {
            **value,
            "event_type": {".tag": tag, "description": tag},
            "details": {".tag": f"{tag}_details"},
        }
    if "group_info" in value:
        return {**value, "group_info": {**value["group_info"], "group_management_type": {".tag": tag}}}
    if value.get("groups"):
        first, *rest = value["groups"]
        return {**value, "groups": [{**first, "group_management_type": {".tag": tag}}, *rest]}
    return {**value, ".tag": tag} if ".tag" in value else value
