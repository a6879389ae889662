"""Every way in which a call can end, against a server that says what the test tells it to."""

from __future__ import annotations

import gzip
import json

import pytest

from pipeline.errors import DropboxSetupError, TeamInfoError, TeamReadError
from pipeline.model import Profile, Verdict
from stages.dropbox import client as client_module
from stages.dropbox import routes
from stages.dropbox.answer import LostReply, NotSent, Refusal, Reply
from stages.dropbox.client import Client
from stages.dropbox.options import DropboxOptions
from stages.dropbox.retrying import READ_ATTEMPTS

pytestmark = pytest.mark.anyio

TEAM = {"name": "Acme", "team_id": "dbtid:1", "num_licensed_users": 10, "num_provisioned_users": 4}
TOO_MANY = {
    "error_summary": "too_many_requests/..",
    "error": {"reason": {".tag": "too_many_requests"}, "retry_after": 15},
}
NO_FIELD = {
    "error_summary": "too_many_write_operations/.",
    "error": {"reason": {".tag": "too_many_write_operations"}},
}
TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def _error(tag: str, **fields) -> dict:
    return {"error_summary": f"{tag}/..", "error": {".tag": tag, **fields}}


@pytest.fixture
async def client(dropbox, clock):
    made = Client(
        DropboxOptions(api_url=dropbox.url, access_token="sl.secret-token", max_requests_per_second=1000),
        clock,
    )
    yield made
    await made.close()


async def test_sends_exactly_what_the_vendor_asks_for(dropbox, client):
    dropbox.on(routes.GET_INFO, (200, TEAM))
    dropbox.on(routes.SUSPEND, (200, None))
    assert isinstance(await client.call(routes.GET_INFO, None, is_write=False), Reply)
    await client.call(routes.SUSPEND, {"name": "Zoë"}, is_write=True)
    first, second = dropbox.seen
    assert first.raw == b"null"
    assert first.headers["content-type"] == "application/json"
    assert first.headers["authorization"] == "Bearer sl.secret-token"
    assert second.body == {"name": "Zoë"}
    assert second.raw.isascii()


@pytest.mark.parametrize("body", [b"null", b"{}", b""])
async def test_a_void_route_is_done_whatever_its_empty_reply_looks_like(dropbox, make_team, body):
    dropbox.on(routes.UNSUSPEND, (200, body))
    assert (await make_team().unsuspend("dbmid:1")).verdict is Verdict.DONE


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        (TOO_MANY, {"Retry-After": "15"}, 15),
        (TOO_MANY, {"Retry-After": "2"}, 15),
        (TOO_MANY, {}, 15),
        (NO_FIELD, {"Retry-After": "7"}, 7),
        (NO_FIELD, {}, 1),
        (b"", {"Retry-After": "3"}, 3),
        (b"", {}, 5),
        (b"slow down", {**TEXT, "Retry-After": "4"}, 4),
        (b"slow down", TEXT, 5),
        (b"", {"Retry-After": "Mon, 23 Nov 2026 09:00:20 GMT"}, 20),
    ],
)
async def test_429_in_every_form_waits_and_sends_the_write_again(
    dropbox, client, clock, body, headers, seconds
):
    dropbox.on(routes.SUSPEND, (429, body, headers), (200, None))
    assert isinstance(await client.call(routes.SUSPEND, {}, is_write=True), Reply)
    assert len(dropbox.seen) == 2
    assert clock.seconds == pytest.approx(seconds, abs=1.0)
    assert client.pace()["refused"] == 1


async def test_an_endless_429_gives_the_write_back_unsent(dropbox, client):
    dropbox.on(routes.SUSPEND, (429, b"", {"Retry-After": "1"}))
    answer = await client.call(routes.SUSPEND, {}, is_write=True)
    assert isinstance(answer, NotSent)
    assert len(dropbox.seen) == client_module.MOST_THROTTLES_A_CALL


async def test_a_very_long_retry_after_is_not_waited_for(dropbox, client, make_team):
    dropbox.on(routes.SUSPEND, (429, b"", {"Retry-After": "3600"}))
    answer = await client.call(routes.SUSPEND, {}, is_write=True)
    assert isinstance(answer, NotSent)
    assert answer.retry_after == pytest.approx(3600)
    assert len(dropbox.seen) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "inf"),
        (b"", "1e308"),
        (b"", "99999999999999"),
        (b"", "Fri, 31 Dec 9999 23:59:59 GMT"),
        (b'{"error": {"retry_after": 1e400}}', ""),
        (b'{"error": {"retry_after": 1' + 400 * b"0" + b"}}", ""),
    ],
)
async def test_nobody_stops_for_longer_than_an_hour_whatever_is_asked(dropbox, client, clock, body, said):
    dropbox.on(routes.SUSPEND, (429, body, {"Retry-After": said}), (200, None))
    answer = await client.call(routes.SUSPEND, {}, is_write=True)
    assert isinstance(answer, NotSent)
    assert answer.retry_after == pytest.approx(3600)
    clock.seconds += 3600
    assert isinstance(await client.call(routes.SUSPEND, {}, is_write=True), Reply)


@pytest.mark.parametrize(
    "said",
    ["nan", "-5", "soon", "\u00b3", "Mon, 01 Jan 99999999999 00:00:00 GMT", "Fri, 31 Feb 2027 00:00:00 GMT"],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_that_says_nothing_is_none(dropbox, client, clock, said, status):
    dropbox.on(routes.GET_INFO, (status, b"", {"Retry-After": said}), (200, TEAM))
    assert isinstance(await client.call(routes.GET_INFO, None, is_write=False), Reply)
    assert clock.seconds < 60


NESTED = 100_000 * b"["


@pytest.mark.parametrize("status", [200, 400, 409, 429, 500])
async def test_a_reply_without_end_is_a_lost_or_refused_one_and_no_more(
    dropbox, make_team, monkeypatch, status
):
    monkeypatch.setattr("stages.dropbox.transport.MOST_REPLY_BYTES", 1_000_000)
    packed = {"Content-Encoding": "gzip"}
    for body, headers in ((NESTED, {}), (gzip.compress(5_000_000 * b" "), packed), (b"no gzip", packed)):
        dropbox.on(routes.SUSPEND, (status, body, headers))
        outcome = await make_team().suspend("dbmid:1", wipe_data=True)
        assert outcome.verdict in {Verdict.UNKNOWN, Verdict.FAILED, Verdict.RETRY}


@pytest.mark.parametrize(
    "trouble",
    [
        (500, b""),
        (503, b"", {"Retry-After": "2"}),
        (502, b"<html>", TEXT),
        "drop",
        (200, b'{"broken'),
        "hang",
    ],
)
async def test_a_write_whose_reply_is_lost_is_never_sent_again(dropbox, make_team, trouble):
    dropbox.on(routes.SUSPEND, trouble)
    outcome = await make_team(timeout_seconds=0.1 if trouble == "hang" else 30).suspend(
        "dbmid:1", wipe_data=True
    )
    assert outcome.verdict is Verdict.UNKNOWN
    assert len(dropbox.seen) == 1


async def test_a_write_that_never_left_is_tried_later(make_team, dropbox):
    team = make_team(api_url="http://127.0.0.1:1")
    outcome = await team.suspend("dbmid:1", wipe_data=True)
    assert outcome.verdict is Verdict.RETRY


@pytest.mark.parametrize("trouble", [(500, b""), (503, b"", {"Retry-After": "2"}), "drop"])
async def test_a_read_is_repeated_until_it_succeeds(dropbox, make_team, trouble):
    dropbox.on(routes.GET_INFO, trouble, trouble, (200, TEAM))
    assert (await make_team().team_info()).free_seats == 6
    assert len(dropbox.seen) == 3


async def test_a_read_that_never_succeeds_is_an_error_and_not_an_absence(dropbox, make_team):
    dropbox.on(routes.GET_INFO, (500, b""))
    dropbox.on(routes.GET_MEMBERS, "drop")
    with pytest.raises(TeamInfoError) as info:
        await make_team().team_info()
    assert info.value.exit_code == -14
    assert "status page" in info.value.hint
    assert "authorize" not in info.value.hint, "the token is not at fault"
    with pytest.raises(TeamReadError):
        await make_team().get_members(member_ids=["dbmid:1"])
    assert len(dropbox.seen) == 2 * READ_ATTEMPTS


async def test_an_outage_costs_a_probe_now_and_then(dropbox, client, clock):
    dropbox.on(routes.SUSPEND, (500, b""))
    for _ in range(60):
        await client.call(routes.SUSPEND, {}, is_write=True)
    storm = len(dropbox.seen)
    assert storm <= 8
    answer = await client.call(routes.SUSPEND, {}, is_write=True)
    assert isinstance(answer, NotSent)
    assert answer.retry_after is not None
    dropbox.on(routes.SUSPEND, (200, None))
    clock.seconds += 120
    assert isinstance(await client.call(routes.SUSPEND, {}, is_write=True), Reply)
    assert isinstance(await client.call(routes.SUSPEND, {}, is_write=True), Reply)


async def test_400_comes_as_text_and_is_a_refusal(dropbox, client):
    text = b"Error in call to API function \"team/members/add_v2\": request body: unknown field 'x'"
    dropbox.on(routes.ADD, (400, text, TEXT))
    answer = await client.call(routes.ADD, {}, is_write=True)
    assert isinstance(answer, Refusal)
    assert answer.tag == "bad_request"
    assert "unknown field" in answer.text
    assert answer.request_id in answer.cause


async def test_missing_scope_of_the_token_and_of_the_app_are_told_apart(dropbox, make_team):
    app_lacks = (
        b'Error in call to API function "team/members/remove": Your app (ID: 1) is not permitted to access this '
        b"endpoint because it does not have the required scope 'members.delete'. The owner of the app can enable it."
    )
    dropbox.on(
        routes.REMOVE,
        (401, _error("missing_scope", required_scope="members.delete")),
        (400, app_lacks, TEXT),
    )
    team = make_team()
    of_token = await team.remove("dbmid:1", wipe_data=True)
    of_app = await team.remove("dbmid:1", wipe_data=True)
    assert of_token.verdict is of_app.verdict is Verdict.FAILED
    assert "token lacks the scope members.delete" in of_token.hint
    assert "App Console" in of_app.hint
    assert "members.delete" in of_app.hint


@pytest.mark.parametrize("tag", ["invalid_access_token", "user_suspended", "expired_access_token"])
async def test_401_ends_in_minus_14_for_team_info_and_minus_13_for_a_write(dropbox, make_team, tag):
    dropbox.on(routes.GET_INFO, (401, _error(tag)))
    dropbox.on(routes.SUSPEND, (401, _error(tag)))
    with pytest.raises(TeamInfoError) as info:
        await make_team().team_info()
    assert "authorize" in info.value.hint
    with pytest.raises(DropboxSetupError):
        await make_team().suspend("dbmid:1", wipe_data=True)


async def test_403_fails_with_a_hint(dropbox, make_team):
    dropbox.on(routes.SUSPEND, (403, _error("invalid_account_type")))
    outcome = await make_team().suspend("dbmid:1", wipe_data=True)
    assert (outcome.verdict, outcome.tag) == (Verdict.FAILED, "invalid_account_type")
    assert "plan" in outcome.hint


async def test_redirects_are_not_followed(dropbox, client):
    dropbox.on(routes.GET_INFO, (307, b"", {"Location": f"{dropbox.url}/2/elsewhere"}))
    answer = await client.call(routes.GET_INFO, None, is_write=False)
    assert isinstance(answer, Refusal)
    assert len(dropbox.seen) == 1


async def test_a_user_message_is_shown(dropbox, client):
    body = {
        **_error("suspend_last_admin"),
        "user_message": {"text": "Make somebody else admin", "locale": "en"},
    }
    dropbox.on(routes.SUSPEND, (409, body))
    answer = await client.call(routes.SUSPEND, {}, is_write=True)
    assert isinstance(answer, Refusal)
    assert answer.text == "suspend_last_admin: Make somebody else admin"


async def test_the_token_never_shows_in_an_error_even_when_the_server_echoes_it(dropbox, make_team, client):
    dropbox.on(routes.GET_INFO, (400, b"bad token sl.secret-token", TEXT))
    with pytest.raises(TeamInfoError) as info:
        await make_team().team_info()
    assert "secret" not in str(info.value)
    assert "secret" not in repr(client.tokens)


async def test_a_lost_reply_keeps_the_request_id(dropbox, client):
    dropbox.on(routes.SUSPEND, (500, b""))
    answer = await client.call(routes.SUSPEND, {}, is_write=True)
    assert isinstance(answer, LostReply)
    assert answer.request_id
    assert client.is_own_request(f"dbarid:{answer.request_id}")


async def test_an_update_with_nothing_to_set_sends_nothing(dropbox, make_team):
    assert (await make_team().update("dbmid:1", Profile())).verdict is Verdict.ALREADY
    assert dropbox.seen == []


def test_options_show_no_secret_and_refuse_a_token_in_the_clear():
    options = DropboxOptions(app_secret="secret-a", refresh_token="secret-b", access_token="secret-c")
    assert "secret-" not in repr(options)
    for url in (
        "http://api.dropboxapi.com",
        "ftp://127.0.0.1",
        "api.dropboxapi.com",
        "https://u:p@x.test",
        "http://[::1",
    ):
        with pytest.raises(DropboxSetupError) as info:
            DropboxOptions(api_url=url)
        assert info.value.exit_code == -13
    assert DropboxOptions(api_url="http://127.0.0.77:8080").is_loopback
    assert DropboxOptions(api_url="http://[::1]:8080/").base_url == "http://[::1]:8080"
    assert json.dumps(DropboxOptions().web_url) == '"https://www.dropbox.com"'
