"""Interface §3 and behaviour §10 (-10, -11): what is read from where, and every fault at once."""

import os
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.lines import key_lines, line_of
from config.load import load, places, salvage
from config.reference import keys
from pipeline.errors import ConfigurationError, DropboxSetupError, RightsError

MINIMAL = """
[directory]
servers = ["ldaps://dc1.example.test"]
username = "svc"
"""


def write(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    file = folder / "connector.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    file.chmod(mode)
    return file


def faults_of(folder: Path, text: str | bytes, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(write(folder, text), environ or {})
    assert caught.value.exit_code == -10
    return caught.value.faults


def test_a_minimal_file_gives_the_defaults_of_the_interface(tmp_path: Path) -> None:
    found = load(write(tmp_path, MINIMAL), {})
    assert found.simulation is True
    assert found.directory.servers == ("ldaps://dc1.example.test",)
    assert found.directory.password.describe() == "env:AD_PASSWORD"
    assert found.users.leave_settle_seconds == 60
    assert found.safety.max_leavers.percent == 5
    assert found.dropbox.refresh_token.file == tmp_path / "dropbox.token"
    assert found.source == tmp_path / "connector.toml"


def test_settings_can_not_be_changed(tmp_path: Path) -> None:
    found = load(write(tmp_path, MINIMAL), {})
    with pytest.raises(ValueError):
        found.directory.poll_seconds = 1


def test_all_faults_are_listed_at_once_with_line_and_key(tmp_path: Path) -> None:
    text = """simulation = "yes"
[directory]
servers = [
  "ldap://dc1.example.test",
]
pol_seconds = 3
[user]
sync_group = "x"
[mail]
enabled = true
port = 70000
recipients = ["a@example.test", "no address"]
[external_id]
format = "{objectGUID}{objectSid}"
"""
    assert faults_of(tmp_path, text) == (
        "line 1: simulation: must be true or false, without quotes",
        'line 2: directory.username: is needed with auth = "simple"',
        "line 3: directory.servers: ldap://dc1.example.test would send the password in the clear: use ldaps:// or set start_tls = true",
        "line 6: directory.pol_seconds: is no key; did you mean directory.poll_seconds?",
        "line 7: user: is no section; did you mean [users]?",
        "line 9: mail.host: is needed with enabled = true",
        "line 9: mail.sender: is needed with enabled = true",
        "line 11: mail.port: must be at most 65535",
        'line 12: mail.recipients[1]: must be a plain e-mail address such as "admin@example.test"',
        "line 14: external_id.format: must contain exactly one placeholder, {objectGUID} or {objectSid}",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[directory]\nservers = "ldaps://a"\n', "line 2: directory.servers: must be a list in brackets"),
        ("[directory]\nservers = [1]\n", "line 2: directory.servers[0]: must be text in quotes"),
        ('[directory]\nservers = ["dc1.example.test"]\n', 'must look like "ldaps://'),
        ('[directory]\nservers = ["ldaps://u:pw@dc1"]\n', 'must look like "ldaps://'),
        ("[directory]\nservers = []\n", "give the addresses of domain controllers"),
        ('[directory]\ndomain = "not a name"\n', "must be the DNS name of the domain"),
        (
            '[directory]\nauth = "kerberos"\nkeytab = "none"\n',
            "directory.keytab: names a file that does not exist",
        ),
        ('[directory]\nkeytab = "connector.toml"\n', 'directory.keytab: is used only with auth = "kerberos"'),
        ('[directory]\nccache = "KEYRING:x"\n', 'directory.ccache: is used only with auth = "kerberos"'),
        (
            '[directory]\nauth = "kerberos"\nkeytab = "connector.toml"\nccache = "KEYRING:x"\n',
            "can't be used together with a keytab",
        ),
        (
            '[directory]\nauth = "kerberos"\nkeytab = "connector.toml"\nusername = ""\n',
            "directory.username: is needed with a keytab",
        ),
        ('[directory]\nauth = "ntlm"\n', "must be one of 'simple' or 'kerberos'"),
        ('[directory]\npassword = ""\n', "an empty password would bind as nobody"),
        ("[directory]\npassword = 12345678\n", "directory.password: must be text in quotes: env:NAME"),
        ('[directory]\npassword = "env:"\n', "names nothing after the colon"),
        ('[directory]\npassword = "keyring:name"\n', "keyring: needs SERVICE/NAME"),
        ('[directory]\npassword = "systemd:../x"\n', "systemd: needs the plain name"),
        ("[directory]\npoll_seconds = 0\n", "must be greater than 0"),
        ("[directory]\npoll_seconds = nan\n", "must be a finite number"),
        ("[directory]\npoll_seconds = true\n", "must be a number"),
        ('[directory]\nca_file = "gone.pem"\n', "names a file that does not exist"),
        ('[users]\nsync_group = ""\n', "users.sync_group: must not be empty"),
        ('[users]\nsync_group = "a\\nb"\n', "control characters"),
        ('[users]\nemail_attribute = "mail)(x"\n', "must be the name of a directory attribute"),
        ('[users]\nexclude_emails = ["[a@x"]\n', "bracket that is not closed"),
        ('[users]\nexclude_emails = ["example.test"]\n', "write *@example.test for a domain"),
        ('[users]\nexclude_emails = ["a @x"]\n', "with a space"),
        ('[groups]\nmode = "separate"\n', 'groups.sync_group: is needed with mode = "separate"'),
        ('[dropbox]\napi_url = "http://api.example.test"\n', "plain http is accepted for loopback only"),
        ('[dropbox]\napi_url = "https://api.example.test?x=1"\n', "must be an https address"),
        ("[dropbox]\nmax_concurrency = 1.5\n", "must be a whole number"),
        ('[external_id]\nformat = "id"\n', "exactly one placeholder"),
        (f'[external_id]\nformat = "{"x" * 29}{{objectGUID}}"\n', "28 are left beside {objectGUID}"),
        ('[external_id]\nformat = "{x}{objectGUID}"\n', "exactly one placeholder"),
        ('[safety]\nmax_leavers = "101%"\n', "or a percentage"),
        ("[safety]\nmax_leavers = -1\n", "must be a whole number from 0"),
        ("[safety]\nmax_leavers = true\n", "must be a whole number from 0"),
        ('[mail]\nsecurity = "none"\nusername = "u"\nport = 25\n', "it would be sent in the clear"),
        ("[mail]\nport = 2525\n", "must be given"),
        ('[mail]\nport = 465\nsecurity = "starttls"\n', "port 465 speaks TLS from the first byte"),
        ('[mail]\nport = 587\nsecurity = "none"\n', "STARTTLS is required on port 587"),
        ('[mail]\nusername = "u"\n', "mail.password: is needed with a username"),
        ('[mail]\nsender = "a@b\\r\\nBcc: c@d"\n', "control characters"),
        ('[service]\nlisten = "0.0.0.0:8734"\n', "must be a loopback address"),
        ('[service]\nlisten = "127.0.0.1"\n', 'must be "host:port"'),
        ('[log]\npath = "journal.db"\n', "must be another file than the journal"),
        ('[log]\npath = ""\n', "must be the path of a file"),
        ("directory = 5\n", "directory: must be a section, written [directory]"),
        ("[[directory]]\n", "directory: must be a section"),
        ("poll_seconds = 5\n", "poll_seconds: is no key here; did you mean directory.poll_seconds?"),
        ('[service]\nmode = "off"\n', "is no key here; did you mean groups.mode?"),
        ("[qqqqqq]\n", "is no section; there are directory, users"),
    ],
)
def test_each_rule_is_told_in_words(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in fault for fault in faults_of(tmp_path, text)), faults_of(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        '[directory]\ndomain = "example.test"\nusername = "u"\n',
        '[directory]\nservers = ["ldaps://a"]\ndomain = "example.test"\nusername = "u"\n',  # as the interface shows it
        '[directory]\nservers = ["ldap://[::1]:389"]\nstart_tls = true\nusername = "u"\n',
        MINIMAL + '[dropbox]\napi_url = "http://127.0.0.1:8080/"\n',
        MINIMAL + '[mail]\nport = 25\nsecurity = "none"\n',
        MINIMAL + '[mail]\nport = 2525\nsecurity = "tls"\n',
        MINIMAL + '[service]\nlisten = ""\n',
        MINIMAL + '[service]\nlisten = "[::1]:80"\n',
        MINIMAL + '[external_id]\nformat = "sid {objectSid}"\n',
        MINIMAL + "[safety]\nmax_leavers = 0\n",
    ],
)
def test_what_is_allowed_loads(tmp_path: Path, text: str) -> None:
    load(write(tmp_path, text), {})


def test_a_rule_between_keys_is_silent_when_one_of_them_is_broken(tmp_path: Path) -> None:
    found = faults_of(tmp_path, '[directory]\nservers = 5\nusername = "u"\n')
    assert found == ("line 2: directory.servers: must be a list in brackets",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("simulation = maybe\n", "line 1, column 14: not TOML"),
        (
            "[a]\nx = 1\nx = 2\n",
            "line 3, column 6: not TOML: Cannot overwrite a value (this key stands twice)",
        ),
        ("[mail]\n[log]\n[mail]\n", "this section stands twice"),
        ('path = "C:\\Users\\x"\n', "line 1"),
        ("x = [", "end of document"),
        ("x = " + "[" * 20_000, "not TOML"),
        ("x = " + "9" * 5_000, "not TOML"),
        (b"x = '\xff'\n", "line 1: not UTF-8 text (byte 6)"),
        ("simulation = true\n".encode("utf-16"), "not UTF-8"),
        (b"\x00", "not TOML"),
        (b"#" * 1_048_577, "too long"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_its_place(tmp_path: Path, text: str | bytes, said: str) -> None:
    (fault,) = faults_of(tmp_path, text)
    assert said in fault


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    load(write(tmp_path, b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode()), {})


def test_no_fault_shows_a_value(tmp_path: Path) -> None:
    text = (
        '[directory]\npassword = ["hunter22"]\nauth = "hunter22"\nca_file = "hunter22"\nhunter = "hunter22"\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, text), {"AD_CONNECTOR__LOG__LEVEL": "hunter22"})
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "hunter22" not in f"{chain} {chain!r}"
        chain = chain.__cause__


# --- where the file is looked for ------------------------------------------------------------------------------


def test_a_missing_file_lists_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        load(None, {"ProgramData": str(tmp_path / "data")})
    assert str(tmp_path / "connector.toml") in caught.value.cause
    assert "/etc/ad-connector/connector.toml" in caught.value.cause
    assert str(tmp_path / "data" / "ad-connector" / "connector.toml") in caught.value.cause
    assert "connector.example.toml" in caught.value.hint


def test_the_order_is_option_variable_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("option", "variable", "here"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, MINIMAL + f'[users]\nsync_group = "{name}"\n')
    monkeypatch.chdir(tmp_path / "here")
    variable = {"AD_CONNECTOR_CONFIG": str(tmp_path / "variable" / "connector.toml")}
    assert load(tmp_path / "option" / "connector.toml", variable).users.sync_group == "option"
    assert load(None, variable).users.sync_group == "variable"
    assert load(None, {}).users.sync_group == "here"
    assert places({})[0] == tmp_path / "here" / "connector.toml"


@pytest.mark.parametrize("name", ["gone.toml", "a\0b", "~nobody-of-this-name/x", "."])
def test_a_named_file_must_exist(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, MINIMAL)
    with pytest.raises(ConfigurationError):
        load(name, {})


def test_relative_paths_start_at_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "ca.pem").touch()
    write(tmp_path / "etc", MINIMAL + 'ca_file = "ca.pem"\n[journal]\npath = "../j.db"\n')
    monkeypatch.chdir(tmp_path)
    found = load("etc/connector.toml", {})
    assert found.directory.ca_file == tmp_path / "etc" / "ca.pem"
    assert found.journal.path.resolve() == tmp_path / "j.db"
    assert found.log.path == tmp_path / "etc" / "ad-connector.log"


# --- the environment -------------------------------------------------------------------------------------------


def test_every_key_can_be_set_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    texts = {
        "directory.servers": "ldaps://x, ldaps://y",
        "directory.domain": "example.test",
        "directory.auth": "kerberos",
        "directory.keytab": "",
        "dropbox.api_url": "https://example.test",
        "external_id.format": "{objectSid}",
        "safety.max_leavers": "7",
        "safety.max_email_changes": "7%",
        "mail.host": "mail.example.test",
        "mail.sender": "a@example.test",
        "mail.recipients": '["b@example.test"]',
        "users.exclude_emails": "[ab]*@example.test",
        "users.exclude_guids": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        "service.listen": "",
        "service.tls_certificate": "",
        "service.tls_key": "",
    }
    environ = {}
    for key in keys():
        path = ".".join(part for part in (key.section, key.name) if part)
        value = texts.get(path)
        if value is None and key.name == "ca_file":
            value = str(tmp_path / "ca.pem")
        if value is None:
            value = (
                str(key.default).lower()
                if isinstance(key.default, bool | int | float)
                else key.default or "x"
            )
        environ["AD_CONNECTOR__" + path.upper().replace(".", "__")] = value
    found = load(write(tmp_path, ""), environ)
    assert found.directory.servers == ("ldaps://x", "ldaps://y")
    assert found.users.exclude_emails == ("[ab]*@example.test",)
    assert found.mail.recipients == ("b@example.test",)
    assert (found.safety.max_leavers.count, found.safety.max_email_changes.percent) == (7, 7)
    assert found.directory.ca_file == tmp_path / "ca.pem"
    assert found.directory.ccache == f"FILE:{tmp_path / 'x'}"


def test_the_environment_overrides_the_file_and_names_its_variables_in_faults(tmp_path: Path) -> None:
    file = write(tmp_path, "simulation = true\n" + MINIMAL)
    assert load(file, {"AD_CONNECTOR__SIMULATION": "off"}).simulation is False
    with pytest.raises(ConfigurationError) as caught:
        load(
            file,
            {
                "AD_CONNECTOR__SIMULATION": "perhaps",
                "AD_CONNECTOR__DIRECTORY__POLL_SECOND": "1",
                "AD_CONNECTOR__X": "",
            },
        )
    assert caught.value.faults == (
        "environment variable AD_CONNECTOR__DIRECTORY__POLL_SECOND: directory.poll_second: is no key; did you mean directory.poll_seconds?",
        "environment variable AD_CONNECTOR__SIMULATION: simulation: must be true or false, without quotes",
        caught.value.faults[2],
    )
    assert "AD_CONNECTOR__X" in caught.value.faults[2]


def test_two_variables_for_one_key_are_a_fault(tmp_path: Path) -> None:
    environ = {"AD_CONNECTOR__LOG__LEVEL": "info", "AD_CONNECTOR__log__level": "debug"}
    assert "is also set by" in faults_of(tmp_path, MINIMAL, environ)[0]


def test_the_environment_can_replace_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"AD_CONNECTOR__DIRECTORY__DOMAIN": "example.test", "AD_CONNECTOR__DIRECTORY__USERNAME": "u"}
    found = load(None, environ)
    assert found.source is None
    assert found.journal.path == tmp_path / "journal.db"


# --- rights (-11) -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_literal_secret_in_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    file = write(tmp_path, MINIMAL + 'password = "hunter22"\n', mode)
    with pytest.raises(RightsError) as caught:
        load(file, {})
    assert caught.value.exit_code == -11
    assert "directory.password" in caught.value.cause
    assert f"mode {mode:04o}" in caught.value.cause
    assert "hunter22" not in str(caught.value)
    file.chmod(0o600)
    assert load(file, {}).directory.password.resolve().get_secret_value() == "hunter22"


def test_references_alone_may_stand_in_a_file_that_others_can_read(tmp_path: Path) -> None:
    load(write(tmp_path, MINIMAL, 0o644), {})


def test_a_literal_secret_of_the_environment_asks_nothing_of_the_file(tmp_path: Path) -> None:
    load(write(tmp_path, MINIMAL, 0o644), {"AD_CONNECTOR__DIRECTORY__PASSWORD": "hunter22"})


def test_the_target_of_a_file_reference_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dropbox.token").write_text("token-1")
    (tmp_path / "dropbox.token").chmod(0o640)
    with pytest.raises(RightsError, match=r"dropbox\.refresh_token.*mode 0640"):
        load(write(tmp_path, MINIMAL), {})


def test_a_keytab_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "svc.keytab").write_bytes(b"\x05\x02")
    (tmp_path / "svc.keytab").chmod(0o640)
    file = write(tmp_path, MINIMAL + 'auth = "kerberos"\nkeytab = "svc.keytab"\n')
    with pytest.raises(RightsError, match=r"directory\.keytab.*mode 0640"):
        load(file, {})
    (tmp_path / "svc.keytab").chmod(0o600)
    assert load(file, {}).directory.keytab == tmp_path / "svc.keytab"


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        ("", ""),
        ("tickets", "FILE:{folder}/tickets"),
        ("FILE:tickets", "FILE:{folder}/tickets"),
        ("DIR:/run/tickets", "DIR:/run/tickets"),
        ("KEYRING:persistent:0", "KEYRING:persistent:0"),
        ("KCM:", "KCM:"),
    ],
)
def test_a_credential_cache_is_a_path_or_a_type_with_a_name(tmp_path: Path, given: str, settled: str) -> None:
    file = write(tmp_path, MINIMAL + f'auth = "kerberos"\nccache = "{given}"\n')
    assert load(file, {}).directory.ccache == settled.format(folder=tmp_path)


# --- secrets are needed only when they are used ---------------------------------------------------------------------


def test_missing_dropbox_credentials_are_an_error_of_dropbox_and_only_when_used(tmp_path: Path) -> None:
    found = load(write(tmp_path, MINIMAL), {})
    with pytest.raises(DropboxSetupError, match=r"dropbox\.app_key") as caught:
        found.dropbox.credentials()
    assert caught.value.exit_code == -13
    found = load(write(tmp_path, MINIMAL + '[dropbox]\napp_key = "k"\n'), {})
    with pytest.raises(DropboxSetupError, match=r"dropbox\.token does not exist"):
        found.dropbox.credentials()
    (tmp_path / "dropbox.token").touch(0o600)
    (tmp_path / "dropbox.token").write_text("token-1\n")
    credentials = found.dropbox.credentials()
    assert credentials.refresh_token is not None
    assert credentials.refresh_token.get_secret_value() == "token-1"
    assert "token-1" not in repr(credentials)


def test_a_dropbox_secret_that_is_configured_but_can_not_be_had_is_a_configuration_fault(
    tmp_path: Path,
) -> None:
    found = load(write(tmp_path, MINIMAL + '[dropbox]\napp_key = "k"\nrefresh_token = "env:NO_SUCH"\n'), {})
    with pytest.raises(ConfigurationError, match=r"dropbox\.refresh_token: the environment variable NO_SUCH"):
        found.dropbox.credentials()
    found = load(write(tmp_path, MINIMAL + '[dropbox]\naccess_token = "env:T"\n'), {"T": "token-2"})
    assert found.dropbox.credentials().access_token is not None


def test_a_broken_configuration_still_gives_log_and_mail_when_those_are_whole(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        '[directory]\nauth = "x"\n[mail]\nenabled = true\nhost = "h"\nsender = "a@b"\nrecipients = ["c@d"]\n',
    )
    saved = salvage(file, {})
    assert saved.mail is not None
    assert saved.mail.host == "h"
    assert saved.log is not None
    assert salvage(write(tmp_path, "[mail]\nenabled = 1\n[log]\nlevel = 2\n"), {}) == type(saved)()
    assert salvage(tmp_path / "gone", {}) == type(saved)()


# --- lines ----------------------------------------------------------------------------------------------------------


def test_lines_are_right_beside_everything_that_toml_allows() -> None:
    text = '''# [not a table]
"quoted key" = 1
a.b = """
[fake]
c = 1 \\""" still """"
'a=b' = \'\'\'x = ''\'\'\'
[ "s" . t ] # comment = 1
d = [ # [x]
  "]", "e = 1",
]
f = { g = 1, h = [1] }
[[u]]
i = 1
'''
    tomllib.loads(text)
    lines = key_lines(text)
    assert lines == {
        ("quoted key",): 2,
        ("a",): 3,
        ("a", "b"): 3,
        ("a=b",): 6,
        ("s", "t"): 7,
        ("s", "t", "d"): 8,
        ("s", "t", "f"): 11,
        ("u",): 12,
        ("u", "i"): 13,
    }
    assert line_of(lines, ("s", "t", "f", "g")) == 11
    assert line_of(lines, ("x",)) is None


# --- never a traceback ------------------------------------------------------------------------------------------------

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SECTIONS = [*sorted({key.section for key in keys() if key.section}), "user", "x.y", '"a b"']
NAMES = [*sorted({key.name for key in keys()}), "pasword", "a.b", '"q"']
VALUES = [
    "1",
    "-1",
    "0.5",
    "nan",
    "true",
    '""',
    '"x"',
    '"env:"',
    '"file:~x/y"',
    "[]",
    '["a", 1]',
    "{ a = 1 }",
    "1979-05-27",
    "9" * 400,
    '"{objectGUID}"',
    '"\\u0000"',
    '"[::1"',
    '"https://[x"',
    '"ldaps://a:99999"',
    '"' + "x" * 5_000 + '"',
]


def judge(folder: Path, content: bytes, environ: dict[str, str]) -> None:
    with suppress(ConfigurationError, RightsError):  # anything else is a traceback for somebody
        load(write(folder, content), environ)
    salvage(folder / "connector.toml", environ)


@FUZZ
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_load_or_are_refused_in_order(tmp_path: Path, content: bytes) -> None:
    judge(tmp_path, content, {})


@FUZZ
@given(
    st.lists(
        st.builds(lambda name: f"[{name}]", st.sampled_from(SECTIONS))
        | st.builds(lambda name, value: f"{name} = {value}", st.sampled_from(NAMES), st.sampled_from(VALUES)),
        max_size=12,
    )
)
def test_any_toml_loads_or_is_refused_in_order(tmp_path: Path, lines: list[str]) -> None:
    judge(tmp_path, "\n".join(lines).encode(), {})


@FUZZ
@given(
    st.dictionaries(
        st.builds(
            lambda section, name: f"AD_CONNECTOR__{section}__{name}".upper(),
            st.sampled_from(SECTIONS),
            st.sampled_from(NAMES),
        )
        | st.text(max_size=10).map(lambda text: "AD_CONNECTOR__" + text),
        st.sampled_from(VALUES) | st.text(max_size=20) | st.just("\udcff"),
        max_size=6,
    )
)
def test_any_environment_loads_or_is_refused_in_order(tmp_path: Path, environ: dict[str, str]) -> None:
    judge(tmp_path, MINIMAL.encode(), environ)


def test_a_file_that_can_not_be_opened_is_a_configuration_fault(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    with pytest.raises(ConfigurationError, match="can't be read"):
        load(write(tmp_path, MINIMAL, 0o000), {})
