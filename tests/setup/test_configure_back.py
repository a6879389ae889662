"""The set-up in a real pseudo-terminal: going back, mistakes that show only later, and files that hold something else."""

import stat
import tomllib
from typing import Any

from sandbox.domain import BLIND_ACCOUNT, BLIND_PASSWORD

Outside = Any


def _configured(outside: Outside, *, account: str = "", more: str = "") -> None:
    outside.file.touch(mode=0o600)
    outside.file.write_text(
        f'[directory]\nservers = ["{outside.server.ldaps_url}"]\nca_file = "{outside.server.ca_file}"\n'
        f'username = "{account or outside.account}"\n{more}'
    )


def test_going_back_leads_to_what_was_wrong_and_from_the_first_question_to_the_menu(outside: Outside) -> None:
    talk = outside.start("configure")
    talk.expect("< goes back a question")
    talk.answer("App key", "the-key-of-another-app")
    talk.answer("Token: where is it kept", "")
    talk.answer("File", "")
    talk.answer("Code", "a-code")
    talk.expect("check dropbox.app_key")
    talk.answer("Code", "<")
    talk.answer("App key [the-key-of-another-app]", outside.team.config.app_key)
    talk.answer("Token: where is it kept", "<")
    talk.answer("App key", "<")
    talk.answer("What shall be changed", "<")
    talk.answer("What shall be changed", "directory")
    talk.answer("Domain controllers", outside.server.ldaps_url)
    talk.answer("Certificate authority", str(outside.server.ca_file))
    talk.answer("Sign-in", "")
    talk.answer("Account that reads", "nobody@example.test")
    talk.answer("Its password: where is it kept", "")
    talk.answer("File", "ad-password")
    talk.answer("(not shown)", outside.password)
    talk.expect("correct directory.username")
    talk.answer("k: keep it", "<")
    talk.answer("Account that reads the directory [nobody@example.test]", outside.account)
    talk.answer("Its password: where is it kept", "")
    talk.answer("File (relative: from the configuration's folder) [ad-password]", "")
    talk.answer("(not shown)", outside.password)
    talk.expect("TLS verified")
    talk.answer("What shall be changed", "s")
    talk.answer("Save ", "<")
    talk.answer("What shall be changed", "s")
    talk.answer("Save ", "")
    assert talk.end() == 0
    values = tomllib.loads(outside.file.read_text())
    assert values["dropbox"]["app_key"] == outside.team.config.app_key
    assert values["directory"]["username"] == outside.account
    assert (outside.folder / "ad-password").read_text().strip() == outside.password
    assert not (outside.folder / "dropbox.token").exists(), "that question was left without an answer"


def test_what_an_earlier_answer_was_kept_with_does_not_fail_the_next_ones(outside: Outside) -> None:
    _configured(outside, account=f"{BLIND_ACCOUNT}@example.test", more=f'password = "{BLIND_PASSWORD}"\n')
    talk = outside.start("configure")
    talk.answer("What shall be changed", "directory")
    talk.answer("Domain controllers", "")
    talk.answer("Certificate authority", "")
    talk.answer("Sign-in", "")
    talk.answer("Account that reads", "")
    talk.answer("Its password: keep", "")
    talk.expect("the account does not see deleted objects")
    talk.answer("k: keep it", "k")
    talk.answer("What shall be changed", "users")
    talk.answer("Group to sync", "Nowhere")
    assert "deleted objects" not in talk.expect("no such group")
    talk.answer("k: keep it", "")
    talk.answer("Group to sync", "Dropbox")
    talk.answer("E-mail attribute", "")
    talk.answer("Manage existing users", "")
    talk.answer("What shall be changed", "q")
    assert talk.end() == 0
    assert talk.shown.count("the account does not see deleted objects") == 1
    assert talk.shown.count("keep it all the same") == 2


def test_a_secret_is_never_written_over_a_file_that_holds_something_else(outside: Outside) -> None:
    hosts = outside.folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    ready = outside.folder / "ready"
    ready.write_text(f"{outside.password}\n")
    ready.chmod(0o644)
    _configured(outside)
    talk = outside.start("configure", "directory")
    talk.answer("Domain controllers", "")
    talk.answer("Certificate authority", "")
    talk.answer("Sign-in", "")
    talk.answer("Account that reads", "")
    for taken, owner in (
        ("connector.toml", "the configuration"),
        ("journal.db", "the journal"),
        ("dropbox.token", "dropbox.refresh_token"),
    ):
        talk.answer("Its password: where is it kept", "")
        talk.answer("File", taken)
        talk.expect(f"{taken} is for {owner}: name another file")
    talk.answer("Its password: where is it kept", "")
    talk.answer("File", "hosts")
    talk.answer("is there already: use what is in it", "no")
    talk.answer("Its password: where is it kept", "")
    talk.answer("File", "ready")
    talk.answer("is there already: use what is in it", "")
    talk.expect("can be read by others (mode 0644")
    ready.chmod(0o600)
    talk.answer("k: keep it", "")
    talk.answer("Its password: where is it kept", "")
    talk.answer("File", "")
    talk.answer("is there already: use what is in it", "")
    talk.expect(f"as {outside.account}")
    talk.answer("Save ", "")
    assert talk.end() == 0
    assert hosts.read_text() == "127.0.0.1 localhost\n"
    assert ready.read_text() == f"{outside.password}\n"
    assert stat.S_IMODE(ready.stat().st_mode) == 0o600
    assert tomllib.loads(outside.file.read_text())["directory"]["password"] == "file:ready"


def test_another_password_goes_where_the_old_one_lies(outside: Outside) -> None:
    (outside.folder / "ours").write_text("an-old-one\n")
    (outside.folder / "ours").chmod(0o600)
    _configured(outside, more='password = "file:ours"\n')
    talk = outside.start("configure", "directory")
    talk.answer("Domain controllers", "")
    talk.answer("Certificate authority", "")
    talk.answer("Sign-in", "")
    talk.answer("Account that reads", "")
    talk.answer("Its password: keep file:ours", "no")
    talk.answer("Its password: where is it kept", "")
    talk.answer("configuration's folder) [ours]", "")
    talk.answer("(not shown)", outside.password)
    talk.expect(f"as {outside.account}")
    talk.answer("Save ", "")
    assert talk.end() == 0
    assert (outside.folder / "ours").read_text().strip() == outside.password


def test_what_can_not_be_saved_is_not_lost_and_a_place_that_is_not_there_is_said_first(
    outside: Outside,
) -> None:
    nowhere = outside.folder / "nowhere" / "connector.toml"
    talk = outside.start("--config", str(nowhere), "configure")
    assert talk.end() == 256 - 11
    assert f"the folder {nowhere.parent} does not exist" in " ".join(talk.shown.split())
    assert "App key" not in talk.shown

    _configured(outside)
    talk = outside.start("configure", "simulation")
    talk.answer("Simulation mode", "no")
    talk.expect("Save ")
    away = outside.folder.rename(outside.folder.with_name("away"))
    talk.answer("(yes/no)", "yes")
    talk.expect("Nothing of your answers is lost")
    away.rename(outside.folder)
    talk.answer("What shall be changed", "s")
    talk.answer("Save ", "")
    assert talk.end() == 0
    assert tomllib.loads(outside.file.read_text())["simulation"] is False


def test_who_gives_up_at_authorize_has_stored_nothing(outside: Outside) -> None:
    outside.file.touch(mode=0o600)
    outside.file.write_text(f'[dropbox]\napp_key = "{outside.team.config.app_key}"\n')
    given = {
        "AD_CONNECTOR__DIRECTORY__SERVERS": outside.server.ldaps_url,
        "AD_CONNECTOR__DIRECTORY__USERNAME": outside.account,
        "AD_CONNECTOR__DIRECTORY__PASSWORD": "env:NOTHING",
    }
    talk = outside.start("authorize", environment=given)
    talk.expect("Code: ")
    talk.interrupt()
    assert talk.end() == 130
    assert "Given up: nothing was stored." in talk.shown
    assert not (outside.folder / "dropbox.token").exists()
