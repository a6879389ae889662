"""`configure` in a real pseudo-terminal: from nothing to a configuration, wrong answers included; one thing changed; a broken file."""

import stat
import subprocess
import sys
import tomllib
from typing import Any

from config.load import load

Outside = Any


def test_from_nothing_to_a_configuration_with_a_wrong_answer_at_every_turn(outside: Outside) -> None:
    talk = outside.start("configure")
    talk.expect("connector.toml (a new file)")
    # Dropbox
    talk.answer("App key", "")
    talk.expect("an answer is needed")
    talk.answer("App key", outside.team.config.app_key)
    talk.answer("Token: where is it kept", "nowhere")
    talk.expect("answer with one of")
    talk.answer("Token: where is it kept", "systemd")
    talk.expect("a token has to be stored")
    talk.answer("Token: where is it kept", "")
    talk.answer("File", "")
    talk.answer("Code", "wrong-code")
    talk.expect("failed")
    talk.expect("for the address that was shown last")
    talk.answer("Code", talk.code_from_page())
    talk.expect("team: Sandbox")
    talk.expect("authorised by it-admin@example.test")
    # Simulation
    talk.answer("Simulation mode", "perhaps")
    talk.expect("answer yes or no")
    talk.answer("Simulation mode", "")
    # Directory
    talk.answer("Domain controllers", "https://dc1.example.test")
    talk.expect("must look like")
    talk.answer("Domain controllers", "ldaps://127.0.0.1:1")
    talk.expect("failed")
    talk.answer("k: keep it", "")
    talk.answer("Domain controllers", outside.server.ldaps_url)
    talk.expect("answers")
    talk.answer("Certificate authority", "")
    talk.expect("certificate")
    talk.answer("k: keep it", "")
    talk.answer("Certificate authority", "nowhere.pem")
    talk.expect("does not exist")
    talk.answer("Certificate authority", str(outside.server.ca_file))
    talk.expect("certificate verified")
    talk.answer("Sign-in", "ticket")
    talk.expect("answer with one of simple, kerberos")
    talk.answer("Sign-in", "")
    talk.answer("Account that reads", outside.account)
    talk.answer("Its password: where is it kept", "")
    talk.answer("File", "")
    talk.answer("(not shown)", "not-the-password")
    talk.expect("failed")
    talk.answer("k: keep it", "")
    talk.answer("Its password: where is it kept", "file")
    talk.answer("File", "secrets-ad")
    talk.answer("(not shown)", outside.password)
    talk.expect("TLS verified")
    talk.expect("DirSync")
    # Users
    talk.answer("Group to sync", "Nowhere")
    talk.expect("no such group")
    talk.answer("k: keep it", "")
    talk.answer("Group to sync", "?sales")
    talk.expect("1  CN=Sales Europe")
    talk.answer("Number", "7")
    talk.expect("no number of the list")
    talk.answer("Group to sync", "?zzz")
    talk.expect("no group has that in its name")
    talk.answer("Group to sync", "?dropbox")
    talk.answer("Number", "1")
    talk.expect("12 people")
    talk.answer("E-mail attribute", "mail address")
    talk.expect("must be the name of a directory attribute")
    talk.answer("E-mail attribute", "proxyAddress")
    talk.expect("nobody would get an account")
    talk.answer("k: keep it", "")
    talk.answer("E-mail attribute", "mail")
    talk.expect("1 without mail")
    talk.answer("Manage existing users", "n")
    # Groups
    talk.answer("Sync groups", "separate")
    talk.answer("get a new one (yes/no) [yes]", "no")
    talk.expect("scope groups.write: the token does not have it")
    talk.answer("k: keep it", "")
    talk.answer("Token: where is it kept", "")
    talk.answer("File", "")
    talk.answer("Code", talk.code_from_page())
    talk.expect("scope groups.write: granted")
    talk.answer("Group that holds", "Project Apollo")
    talk.expect("0 groups directly in it")
    talk.answer("k: keep it", "")
    talk.answer("Group that holds", "Synced Groups")
    talk.expect("1 groups directly in it")
    # Log
    talk.answer("Log file", "missing-folder/x.log")
    talk.expect("failed")
    talk.answer("k: keep it", "")
    talk.answer("Log file", "")
    talk.expect("can be written")
    # Mail
    talk.answer("Send mail", "yes")
    talk.answer("Mail server", "http://mail")
    talk.expect("must be a host name")
    talk.answer("Mail server", outside.mailbox.host)
    talk.answer("Certificate authority of the mail server", str(outside.mailbox.ca_file))
    talk.answer("Port", "smtp")
    talk.expect("a whole number")
    talk.answer("Port", "99999")
    talk.expect("must be at most 65535")
    talk.answer("Port", str(outside.mailbox.port))
    talk.answer("Encryption", "auto")
    talk.expect("must be given")
    talk.answer("Encryption", "2")
    talk.expect("encryption")
    talk.answer("User name", outside.mail_account)
    talk.answer("Password: where is it kept", "")
    talk.answer("File", "")
    talk.answer("(not shown)", "wrong")
    talk.expect("failed")
    talk.answer("k: keep it", "")
    talk.answer("Password: where is it kept", "")
    talk.answer("File", "")
    talk.answer("(not shown)", outside.mail_password)
    talk.expect("sign-in")
    talk.answer("Sender", "the connector")
    talk.expect("plain e-mail address")
    talk.answer("Sender", "connector@example.test")
    talk.answer("Recipients", "it@example.test, boss@example.test")
    talk.expect("accepted by the server for it@example.test, boss@example.test")
    # The end
    talk.expect("To be written:")
    assert not outside.file.exists()
    assert not (outside.folder / "dropbox.token").exists()
    talk.answer("Save ", "yes")
    talk.expect("Saved")
    assert talk.end() == 0

    (mail,) = outside.mailbox.received
    assert mail.signed_in_as == outside.mail_account
    assert stat.S_IMODE(outside.file.stat().st_mode) == 0o600
    text = outside.file.read_text()
    for secret in (outside.password, outside.mail_password, "not-the-password"):
        assert secret not in talk.shown
        assert secret not in text
    for name in ("secrets-ad", "dropbox.token", "mail.password"):
        assert stat.S_IMODE((outside.folder / name).stat().st_mode) == 0o600
    values = tomllib.loads(text)
    assert values["simulation"] is True
    assert values["users"]["sync_group"].startswith("CN=Dropbox,")
    assert values["users"]["manage_existing"] is False
    assert values["directory"]["password"] == "file:secrets-ad"
    assert "# name, DN or objectGUID of the user sync group" in text
    assert load(outside.file, outside.environment).source == outside.file


def _configured(outside: Outside, more: str = "") -> str:
    """As an earlier run has left it, with a comment by its owner."""
    (outside.folder / "secret").write_text(outside.password)
    (outside.folder / "secret").chmod(0o600)
    text = f"""# ours: ask Ines before you change anything
simulation = true

[directory]
servers = ["{outside.server.ldaps_url}"]
username = "{outside.account}"
password = "file:secret"
ca_file = "{outside.server.ca_file}"

[users]
sync_group = "Dropbox"   # since 2019

[dropbox]
app_key = "{outside.team.config.app_key}"
{more}"""
    outside.file.touch(mode=0o600)
    outside.file.write_text(text)
    return text


def test_one_thing_is_changed_and_everything_else_stays_as_it_is(outside: Outside) -> None:
    before = _configured(outside)
    talk = outside.start("configure", "simulation")
    talk.answer("Simulation mode", "no")
    talk.expect("simulation = false")
    talk.expect("the next `ad-connector run` sends to Dropbox what `ad-connector plan` shows")
    talk.expect("wiped from their devices")
    talk.answer("Save ", "")
    assert talk.end() == 0
    assert outside.file.read_text() == before.replace("simulation = true", "simulation = false")
    assert not outside.file.with_name("connector.toml.bak").exists()


def test_the_menu_changes_what_is_picked_and_saves_when_told_to(outside: Outside) -> None:
    _configured(outside)
    talk = outside.start("configure")
    talk.answer("What shall be changed", "12")
    talk.expect("answer with a number")
    talk.answer("What shall be changed", "3")
    talk.answer("Domain controllers", outside.server.ldap_url)
    talk.expect("answers")
    talk.answer("Certificate authority", "")
    talk.expect("certificate verified")
    talk.answer("Sign-in", "")
    talk.answer("Account that reads", "")
    talk.answer("keep file:secret", "no")
    talk.answer("Its password: where is it kept", "env")
    talk.answer("Name of the environment variable", "")
    talk.expect("holds nothing that can be read here and now")
    talk.answer("What shall be changed", "log")
    talk.answer("Log file", "")
    talk.answer("What shall be changed", "s")
    talk.expect("directory.start_tls = true")
    talk.answer("Save ", "")
    assert talk.end() == 0
    values = tomllib.loads(outside.file.read_text())
    assert values["directory"]["servers"] == [outside.server.ldap_url]
    assert values["directory"]["start_tls"] is True
    assert values["directory"]["password"] == "env:DIRECTORY_PASSWORD"
    assert "# ours: ask Ines" in outside.file.read_text()


def test_a_broken_file_is_opened_and_kept_beside(outside: Outside) -> None:
    before = _configured(outside, "max_concurency = 4\n\n[users\nemail_attribute = 7\n[mail]\nport = many\n")
    talk = outside.start("configure", "log")
    talk.expect("It is broken")
    talk.expect("not TOML")
    talk.expect("dropbox.max_concurency: is no key; did you mean dropbox.max_concurrency?")
    talk.answer("Log file", "")
    talk.answer("Save ", "")
    talk.expect("connector.toml.bak")
    assert talk.end() == 0
    kept = outside.file.with_name("connector.toml.bak")
    assert kept.read_text() == before
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    settings = load(outside.file, {})
    assert settings.users.sync_group == "Dropbox"
    assert settings.directory.username == outside.account


def test_who_gives_up_has_changed_nothing(outside: Outside) -> None:
    before = _configured(outside)
    talk = outside.start("configure", "simulation")
    talk.answer("Simulation mode", "no")
    talk.expect("Save ")
    talk.interrupt()
    assert talk.end() == 130
    assert "nothing was written" in talk.shown
    assert outside.file.read_text() == before


def test_what_the_environment_sets_is_not_asked_and_a_fault_of_the_file_does_not_matter(
    outside: Outside,
) -> None:
    outside.file.write_text(_configured(outside).replace("simulation = true", "simulation = 7"))
    given = {"AD_CONNECTOR__SIMULATION": "true", "AD_CONNECTOR__USERS__SYNC_GROUP": "Dropbox"}
    talk = outside.start("configure", "users", environment=given)
    talk.expect(
        "users.sync_group is set by the environment variable AD_CONNECTOR__USERS__SYNC_GROUP: not asked for"
    )
    talk.answer("E-mail attribute", "userPrincipalName")
    talk.answer("Manage existing users", "")
    talk.answer("Save ", "")
    assert talk.end() == 0
    assert 'email_attribute = "userPrincipalName"' in outside.file.read_text()


def test_without_a_terminal_it_says_what_to_do_and_ends_with_minus_10(outside: Outside) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipeline", "configure"],
        cwd=outside.folder,
        env=outside.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 256 - 10
    assert "docs/configuration.md" in done.stderr
    assert not outside.file.exists()
