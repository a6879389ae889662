"""The referee itself."""

import json

import pytest


@pytest.mark.parametrize(
    ("exchange", "complaint"),
    [
        (("team/get_info", None, 500, b""), None),
        (("team/get_info", b"null", 400, b"text"), None),
        (("team/get_info", {}, 400, b"text"), "expected null"),
        (("team/get_info", "{", 400, b"text"), "could not decode"),
        (("team/get_info", None, 200, b"{"), "not JSON"),
        (("team/get_info", None, 200, "{}"), "missing required field"),
        (("team/get_info", None, 409, {"error": {".tag": "x"}}), "no 409"),
        (("team/members/recover", None, 401, b""), "expected object"),
        (("team/groups/list/continue", {"cursor": "c"}, 409, {}), "no error"),
        (
            ("team/groups/list/continue", {"cursor": "c"}, 409, {"error": {".tag": "invented"}}),
            "unknown tag 'invented'",
        ),
        (
            (
                "team/groups/list/continue",
                {"cursor": "c"},
                409,
                {"error_summary": "other/..", "error": {".tag": "invalid_cursor"}},
            ),
            "does not go with",
        ),
        (
            (
                "team/groups/list/continue",
                {"cursor": "c"},
                409,
                json.dumps({"error_summary": "invalid_cursor/...", "error": {".tag": "invalid_cursor"}}),
            ),
            None,
        ),
        (("team/teleport", None, 200, None), "no such route"),
        (("teleport/team", None, 200, None), "no such route"),
    ],
)
def test_verdicts(stone_oracle, exchange, complaint):
    complaints = stone_oracle.check_exchange(*exchange)
    if complaint is None:
        assert complaints == []
    else:
        assert complaint in complaints[0]
