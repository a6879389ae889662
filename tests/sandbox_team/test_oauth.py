"""The authorise page and the token endpoint; the SDK's own flow objects do the talking."""

import base64
import hashlib
import re
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from dropbox import oauth

pytestmark = pytest.mark.anyio

VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@pytest.fixture
async def web(simulator):
    async with aiohttp.ClientSession(base_url=simulator.url) as session:
        yield session


async def authorise(web, **changes):
    query = {"response_type": "code", "client_id": "sandboxappkey00", "token_access_type": "offline"}
    query = {name: value for name, value in {**query, **changes}.items() if value is not None}
    async with web.get("/oauth2/authorize", params=query, allow_redirects=False) as reply:
        return reply.status, reply.headers, await reply.text()


async def code(web, **changes):
    status, _, page = await authorise(web, **changes)
    assert status == 200
    return re.search(r'id="auth-code">([^<]+)<', page).group(1)


async def token(web, **form):
    async with web.post("/oauth2/token", data={"client_id": "sandboxappkey00", **form}) as reply:
        assert reply.headers["Content-Type"] == "application/json"
        return reply.status, await reply.json()


@pytest.mark.parametrize(
    ("reply", "first", "refreshed"),
    [
        ("known", {"scope", "uid", "team_id"}, set()),
        ("more", {"scope", "uid", "team_id", "account_id", "id_token"}, {"scope", "account_id", "id_token"}),
        ("fewer", set(), set()),
    ],
)
async def test_which_fields_a_reply_has_is_a_switch(web, simulator, reply, first, refreshed):
    simulator.team.switch(oauth_reply=reply)
    always = {"access_token", "token_type", "expires_in"}
    given = await code(web, code_challenge=CHALLENGE, code_challenge_method="S256")
    status, body = await token(web, grant_type="authorization_code", code=given, code_verifier=VERIFIER)
    assert (status, set(body)) == (200, always | first | {"refresh_token"})
    status, fresh = await token(web, grant_type="refresh_token", refresh_token=body["refresh_token"])
    assert (status, set(fresh)) == (200, always | refreshed)


async def test_pkce(web, simulator):
    given = await code(web, code_challenge=CHALLENGE, code_challenge_method="S256", scope="members.read")
    exchange = {"grant_type": "authorization_code", "code": given}
    status, body = await token(web, **exchange, code_verifier="w" * 64)
    assert (status, body["error"]) == (400, "invalid_grant")
    status, body = await token(web, **exchange)
    assert (status, body["error"]) == (400, "invalid_grant")
    status, body = await token(web, **exchange, code_verifier=VERIFIER)
    assert status == 200
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("bearer", 14400, "members.read")
    assert (body["team_id"], "account_id" in body, "uid" in body) == (simulator.team.id, False, True)
    assert simulator.tokens.examine(body["access_token"]).scopes == {"members.read"}
    status, again = await token(web, **exchange, code_verifier=VERIFIER)
    assert (status, again["error_description"]) == (400, "code doesn't exist or has expired")
    status, fresh = await token(web, grant_type="refresh_token", refresh_token=body["refresh_token"])
    assert (status, sorted(fresh)) == (200, ["access_token", "expires_in", "token_type"])


async def test_secret_and_online(web):
    given = await code(web, token_access_type="online")
    exchange = {"grant_type": "authorization_code", "code": given}
    status, body = await token(web, **exchange)
    assert (status, body) == (
        400,
        {"error": "invalid_client", "error_description": "Invalid client_id or client_secret"},
    )
    status, body = await token(web, **exchange, client_secret="wrong")
    assert (status, body["error"]) == (400, "invalid_client")
    status, body = await token(web, **exchange, client_secret="sandboxsecret00")
    assert (status, "refresh_token" in body) == (200, False)


async def test_a_code_ages(web, simulator):
    given = await code(web)
    simulator.team.clock.advance(600)
    status, body = await token(
        web, grant_type="authorization_code", code=given, client_secret="sandboxsecret00"
    )
    assert (status, body["error"]) == (400, "invalid_grant")


async def test_redirects(web, simulator):
    uri = "http://127.0.0.1:9/done?x=1"
    status, headers, _ = await authorise(web, redirect_uri=uri, state="s")
    answer = parse_qs(urlsplit(headers["Location"]).query)
    assert (status, answer["state"], answer["x"]) == (302, ["s"], ["1"])
    exchange = {
        "grant_type": "authorization_code",
        "code": answer["code"][0],
        "client_secret": "sandboxsecret00",
    }
    assert (await token(web, **exchange))[1]["error"] == "invalid_grant"
    assert (await token(web, **exchange, redirect_uri=uri))[0] == 200
    simulator.oauth.deny = True
    _, headers, _ = await authorise(web, redirect_uri=uri, state="s")
    assert parse_qs(urlsplit(headers["Location"]).query)["error"] == ["access_denied"]
    assert "denied" in (await authorise(web))[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"response_type": "token"},
        {"client_id": "no"},
        {"token_access_type": "legacy"},
        {"scope": "members.read teleport"},
        {"code_challenge": "short"},
        {"code_challenge_method": "S1"},
    ],
)
async def test_bad_authorisations(web, changes):
    assert (await authorise(web, **changes))[0] == 400


async def test_refusals_of_the_token_endpoint(web, simulator):
    refresh = simulator.config.refresh_token
    assert (await token(web, grant_type="password"))[1]["error"] == "unsupported_grant_type"
    for value, text in (
        ("!", "refresh token is malformed"),
        ("x" * 20, "refresh token is invalid or revoked"),
    ):
        body = (await token(web, grant_type="refresh_token", refresh_token=value))[1]
        assert body == {"error": "invalid_grant", "error_description": text}
    wide = {"grant_type": "refresh_token", "refresh_token": refresh, "scope": "teleport"}
    assert (await token(web, **wide))[1]["error"] == "invalid_scope"
    narrow = await token(web, **{**wide, "scope": "members.read"})
    assert simulator.tokens.examine(narrow[1]["access_token"]).scopes == {"members.read"}
    simulator.tokens.revoke(refresh_too=True)
    assert (await token(web, grant_type="refresh_token", refresh_token=refresh))[1][
        "error"
    ] == "invalid_grant"
    async with web.post("/oauth2/token", json={"grant_type": "refresh_token"}) as reply:
        assert (reply.status, (await reply.json())["error"]) == (400, "invalid_request")
    other = await token(web, client_id="other", grant_type="refresh_token", refresh_token=refresh)
    assert other[1]["error"] == "invalid_client"


@pytest.mark.parametrize("pkce", [True, False])
async def test_the_flow_of_the_sdk(sdk, web, simulator, pkce):
    secret = None if pkce else simulator.config.app_secret
    flow = oauth.DropboxOAuth2FlowNoRedirect(
        simulator.config.app_key, secret, use_pkce=pkce, token_access_type="offline", scope=["team_info.read"]
    )
    flow.requests_session = sdk._session
    query = dict(re.findall(r"[?&]([^=]+)=([^&]+)", flow.start()))
    given = await code(
        web,
        code_challenge=query.get("code_challenge"),
        code_challenge_method=query.get("code_challenge_method"),
        scope="team_info.read",
    )
    result = await sdk.run(flow.finish, given)
    assert (result.account_id, result.scope) == (simulator.team.id, "team_info.read")
    client = sdk.client(
        oauth2_refresh_token=result.refresh_token, app_key=simulator.config.app_key, app_secret=secret
    )
    assert (await sdk.run(client.team_get_info)).team_id == simulator.team.id
