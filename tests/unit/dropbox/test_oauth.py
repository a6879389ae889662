from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from config.settings import Settings
from pipeline.app.compose import team_of
from pipeline.errors import DropboxSetupError, TeamInfoError
from stages.dropbox import routes
from stages.dropbox.oauth import NEEDED_SCOPES, authorization_url, exchange_code, new_code_verifier
from stages.dropbox.options import DropboxOptions

pytestmark = pytest.mark.anyio

TOKEN_ROUTE = "/oauth2/token"
TEAM = {"name": "Acme", "team_id": "dbtid:1", "num_licensed_users": 10, "num_provisioned_users": 4}
EXPIRED = (401, {"error_summary": "expired_access_token/", "error": {".tag": "expired_access_token"}})
FULL = {"app_key": "key", "app_secret": "s3cret", "refresh_token": "r3fresh"}


def _granted(name: str = "one", expires_in: int = 14400):
    return 200, {"access_token": f"sl.{name}", "token_type": "bearer", "expires_in": expires_in}


def _tokens_used(dropbox) -> list[str]:
    return [each.headers["authorization"] for each in dropbox.seen if each.route == routes.GET_INFO]


async def test_a_token_is_fetched_once_for_many_callers(dropbox, make_team):
    dropbox.on(TOKEN_ROUTE, _granted())
    dropbox.on(routes.GET_INFO, (200, TEAM))
    team = make_team(**FULL)
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(team.team_info)
    [form] = dropbox.sent(TOKEN_ROUTE)
    assert parse_qs(form) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["r3fresh"],
        "client_id": ["key"],
        "client_secret": ["s3cret"],
    }
    assert set(_tokens_used(dropbox)) == {"Bearer sl.one"}


async def test_a_public_client_sends_no_secret(dropbox, make_team):
    dropbox.on(TOKEN_ROUTE, _granted())
    dropbox.on(routes.GET_INFO, (200, TEAM))
    await make_team(app_key="key", refresh_token="r").team_info()
    assert "client_secret" not in dropbox.sent(TOKEN_ROUTE)[0]


async def test_it_is_refreshed_five_minutes_early(dropbox, make_team, clock):
    dropbox.on(TOKEN_ROUTE, _granted("one"), _granted("two"))
    dropbox.on(routes.GET_INFO, (200, TEAM))
    team = make_team(**FULL)
    await team.team_info()
    clock.seconds += 14400 - 310
    await team.team_info()
    clock.seconds += 20
    await team.team_info()
    assert _tokens_used(dropbox) == ["Bearer sl.one", "Bearer sl.one", "Bearer sl.two"]


async def test_a_401_is_answered_with_one_refresh_and_one_repetition(dropbox, make_team):
    dropbox.on(TOKEN_ROUTE, _granted("one"), _granted("two"))
    dropbox.on(routes.GET_INFO, EXPIRED, (200, TEAM))
    await make_team(**FULL).team_info()
    assert _tokens_used(dropbox) == ["Bearer sl.one", "Bearer sl.two"]


async def test_a_401_after_the_refresh_is_final(dropbox, make_team):
    dropbox.on(TOKEN_ROUTE, _granted("one"), _granted("two"))
    dropbox.on(routes.GET_INFO, EXPIRED)
    with pytest.raises(TeamInfoError):
        await make_team(**FULL).team_info()
    assert len(_tokens_used(dropbox)) == 2


async def test_a_new_refresh_token_replaces_the_old_one_and_is_told_once(dropbox, make_team, clock):
    rotated = {**_granted()[1], "refresh_token": "r0tated"}
    dropbox.on(TOKEN_ROUTE, (200, rotated), (200, rotated), _granted("three"))
    dropbox.on(routes.GET_INFO, (200, TEAM), (200, TEAM), (200, TEAM))
    kept: list[str] = []
    team = make_team(**FULL, keep_refresh_token=kept.append)
    for _ in range(3):
        await team.team_info()
        clock.seconds += 14400
    assert kept == ["r0tated"]
    used = [parse_qs(form)["refresh_token"] for form in dropbox.sent(TOKEN_ROUTE)]
    assert used == [["r3fresh"], ["r0tated"], ["r0tated"]]


@pytest.mark.parametrize("is_storable", [True, False])
async def test_a_new_refresh_token_is_stored_where_the_old_one_lay(dropbox, clock, tmp_path, is_storable):
    file = tmp_path / "dropbox.token"
    file.write_text("r3fresh")
    file.chmod(0o600)
    settings = Settings.model_validate(
        {
            "directory": {"servers": ["ldaps://dc1.example.test"], "username": "svc@example.test"},
            "dropbox": {
                "app_key": "key",
                "refresh_token": "file:dropbox.token" if is_storable else "env:REFRESH",
                "api_url": dropbox.url,
            },
        },
        context={"folder": tmp_path, "environ": {"AD_PASSWORD": "not a secret", "REFRESH": "r3fresh"}},
    )
    dropbox.on(TOKEN_ROUTE, (200, {**_granted()[1], "refresh_token": "r0tated"}))
    dropbox.on(routes.GET_INFO, (200, TEAM))
    team = team_of(settings, clock)
    try:
        await team.team_info()  # also where it can't be stored: it is good until the process ends
    finally:
        await team.close()
    assert file.read_text().strip() == ("r0tated" if is_storable else "r3fresh")
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_client", "unsupported_grant_type"])
async def test_a_refused_refresh_is_minus_13_and_keeps_the_secrets_to_itself(dropbox, make_team, error):
    dropbox.on(TOKEN_ROUTE, (400, {"error": error, "error_description": "refresh token r3fresh is revoked"}))
    with pytest.raises(DropboxSetupError) as info:
        await make_team(**FULL).team_info()
    assert info.value.exit_code == -13
    assert error in str(info.value)
    for secret in ("r3fresh", "s3cret"):
        assert secret not in str(info.value) + repr(info.value)


@pytest.mark.parametrize(
    "trouble",
    [
        (500, b""),
        (429, b"", {"Retry-After": "2"}),
        (429, b"", {"Retry-After": "\u00b2"}),
        (503, b"", {"Retry-After": "Mon, 23 Nov 2026 09:00:02 GMT"}),
        (200, 100_000 * b"["),
        "drop",
    ],
)
async def test_trouble_at_the_token_endpoint_is_no_refusal(dropbox, make_team, trouble):
    dropbox.on(TOKEN_ROUTE, trouble, _granted())
    dropbox.on(routes.GET_INFO, (200, TEAM))
    assert (await make_team(**FULL).team_info()).name == "Acme"


@pytest.mark.parametrize("options", [{"refresh_token": ""}, {"refresh_token": "r", "app_key": ""}])
async def test_missing_credentials_are_minus_13(make_team, options):
    with pytest.raises(DropboxSetupError) as info:
        await make_team(**options).team_info()
    assert info.value.exit_code == -13


def test_the_authorisation_url_asks_for_least_scopes_with_pkce():
    verifier = new_code_verifier()
    assert 43 <= len(verifier) <= 128
    parts = urlsplit(authorization_url(DropboxOptions(app_key="key"), verifier, state="xyz"))
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "www.dropbox.com", "/oauth2/authorize")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    expected = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert query == {
        "response_type": "code",
        "client_id": "key",
        "token_access_type": "offline",
        "scope": " ".join(NEEDED_SCOPES),
        "code_challenge": expected,
        "code_challenge_method": "S256",
        "state": "xyz",
    }


def test_the_challenge_matches_the_example_of_rfc_7636():
    from stages.dropbox.oauth import code_challenge

    assert (
        code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


async def test_a_code_is_exchanged_for_a_refresh_token(dropbox):
    reply = {
        "access_token": "sl.x",
        "refresh_token": "r.x",
        "expires_in": 14400,
        "scope": "members.read members.write",
        "team_id": "dbtid:1",
        "uid": "1",
    }
    dropbox.on(TOKEN_ROUTE, (200, reply))
    grant = await exchange_code(
        DropboxOptions(api_url=dropbox.url, app_key="key"), " the-code \n", "verifier"
    )
    assert (grant.refresh_token, grant.scopes, grant.team_id) == (
        "r.x",
        ("members.read", "members.write"),
        "dbtid:1",
    )
    assert "r.x" not in repr(grant)
    assert parse_qs(dropbox.sent(TOKEN_ROUTE)[0]) == {
        "grant_type": ["authorization_code"],
        "code": ["the-code"],
        "client_id": ["key"],
        "code_verifier": ["verifier"],
    }


async def test_a_used_up_code_is_refused_with_what_to_do(dropbox):
    dropbox.on(TOKEN_ROUTE, (400, {"error": "invalid_grant", "error_description": "code has expired"}))
    with pytest.raises(DropboxSetupError) as info:
        await exchange_code(DropboxOptions(api_url=dropbox.url, app_key="key"), "code", "verifier")
    assert "authorize" in info.value.hint
