"""Secrets in the keyring: the wizard stores them in a real one (gnome-keyring on a D-Bus of its own), and the program reads them there."""

import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.setup.dialogue import Dialogue, Outside

MISSING = [name for name in ("dbus-daemon", "gnome-keyring-daemon") if shutil.which(name) is None]


@pytest.fixture
def keyring(tmp_path: Path, outside: Outside) -> Iterator[dict[str, str]]:
    """The environment of a session whose keyring is unlocked. Both programs end with the test."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    session = {"XDG_RUNTIME_DIR": str(run), "XDG_DATA_HOME": str(tmp_path / "data")}
    with ExitStack() as stack:

        def start(*command: str) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    env={**outside.environment, **session},
                )
            )
            stack.callback(process.terminate)
            return process

        bus = start("dbus-daemon", "--session", "--nofork", "--print-address")
        assert bus.stdout is not None
        session["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
        daemon = start("gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets")
        assert daemon.stdin is not None
        assert daemon.stdout is not None
        daemon.stdin.write("a password of the session")
        daemon.stdin.close()
        daemon.stdout.readline()  # it says where it listens once it does
        yield session


def written(outside: Outside) -> dict[str, Any]:
    return tomllib.loads(outside.file.read_text(encoding="utf-8"))


def files_below(folder: Path) -> str:
    return "".join(file.read_text(errors="replace") for file in folder.rglob("*") if file.is_file())


def test_secrets_go_to_the_keyring_and_are_read_there(outside: Outside, keyring: dict[str, str]) -> None:
    outside.file.touch(mode=0o600)
    outside.file.write_text(f'[dropbox]\napp_key = "{outside.team.config.app_key}"\n')

    def talk(*arguments: str) -> Dialogue:
        return outside.start(*arguments, environment=keyring)

    it = talk("configure", "directory")
    it.answer("Domain controllers", outside.server.ldaps_url)
    it.answer("Certificate authority", str(outside.server.ca_file))
    it.answer("Sign-in", "")
    it.answer("Account that reads", outside.account)
    it.answer("Its password: where is it kept", "keyring")
    it.answer("Entry of the keyring", "no-slash")
    it.expect("needs SERVICE/NAME")
    it.answer("Its password: where is it kept", "keyring")
    it.answer("Entry of the keyring", "")
    it.answer("(not shown)", "not-the-password")
    it.expect("failed")
    it.answer("k: keep it", "")
    it.answer("Its password: where is it kept", "key")
    it.answer("Entry of the keyring", "")
    it.answer("(not shown)", outside.password)
    it.expect("TLS verified")
    it.answer("Save ", "")
    assert it.end() == 0
    assert written(outside)["directory"]["password"] == "keyring:ad-connector/directory.password"

    it = talk("configure", "dropbox")
    it.answer("App key", "")
    it.answer("Token: where is it kept", "keyring")
    it.answer("Entry of the keyring", "dropbox/token of the team")
    it.answer("Code", it.code_from_page())
    it.expect("authorised by it-admin@example.test")
    it.answer("Save ", "")
    assert it.end() == 0
    assert written(outside)["dropbox"]["refresh_token"] == "keyring:dropbox/token of the team"
    secrets = (outside.password, outside.team.config.refresh_token)
    assert not any(secret in files_below(outside.folder) for secret in secrets)

    it = talk("check")
    it.end()
    assert f"ok       directory: sign in: as {outside.account}" in it.shown
    assert "ok       dropbox: admin: authorised by it-admin@example.test" in it.shown


def test_without_a_keyring_it_is_said_before_anybody_has_typed_much(outside: Outside) -> None:
    outside.file.touch(mode=0o600)
    outside.file.write_text(
        f'[dropbox]\napp_key = "{outside.team.config.app_key}"\n'
        '[directory]\nservers = ["ldaps://dc1.example.test"]\nusername = "x@example.test"\n'
        '[users]\nsync_group = "Dropbox"\n'
    )
    it = outside.start("configure", "dropbox")
    it.answer("App key", "")
    it.answer("Token: where is it kept", "keyring")
    it.answer("Entry of the keyring", "")
    it.expect("there is no keyring for this account")
    it.answer("Token: where is it kept", "file")
    it.answer("File", "missing/dropbox.token")
    it.expect("does not exist")
    it.answer("Token: where is it kept", "")
    it.answer("File", "")
    it.answer("Code", "")
    it.answer("Save ", "")
    assert it.end() == 0

    # And where the reference is there already, the command says the same.
    text = outside.file.read_text(encoding="utf-8")
    outside.file.write_text(text.replace("file:dropbox.token", "keyring:ad-connector/token"))
    it = outside.start("check", "dropbox")
    assert it.end() == 246  # -10, as a shell shows it
    assert "there is no keyring for this account" in it.shown
