"""Interface §3: a secret is a reference; no value in an error or a repr."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from pydantic import SecretStr

from config.secrets import Secret, SecretAbsent
from pipeline.errors import ConfigurationError, RightsError
from pipeline.redaction import redacted


def secret(text: str, folder: Path = Path("/nowhere"), environ: Mapping[str, str] | None = None) -> Secret:
    return Secret.parse("directory.password", text, folder, environ or {})


def private(file: Path, content: bytes) -> None:
    file.touch(0o600)
    file.write_bytes(content)


class DictKeyring(KeyringBackend):
    priority = 1

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password


@pytest.fixture
def entries() -> Iterator[dict[tuple[str, str], str]]:
    before = keyring.get_keyring()
    backend = DictKeyring()
    keyring.set_keyring(backend)
    yield backend.entries
    keyring.set_keyring(before)


def value(found: Secret) -> str:
    return found.resolve().get_secret_value()


def test_env_comes_from_the_environment_given() -> None:
    assert value(secret("env:PW", environ={"PW": "geheim-1"})) == "geheim-1"
    with pytest.raises(
        ConfigurationError, match=r"directory\.password: the environment variable PW is not set"
    ):
        secret("env:PW").resolve()


def test_file_is_relative_to_the_folder_and_loses_its_line_end(tmp_path: Path) -> None:
    private(tmp_path / "pw", b"\xef\xbb\xbfgeheim 2 \r\n")
    assert value(secret("file:pw", tmp_path)) == "geheim 2 "
    assert value(secret(f"file:{tmp_path}/pw")) == "geheim 2 "


def test_file_is_read_afresh_each_time(tmp_path: Path) -> None:
    private(tmp_path / "pw", b"first")
    found = secret("file:pw", tmp_path)
    assert value(found) == "first"
    private(tmp_path / "pw", b"second")
    assert value(found) == "second"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    private(tmp_path / "pw", b"geheim")
    (tmp_path / "pw").chmod(mode)
    with pytest.raises(RightsError) as caught:
        secret("file:pw", tmp_path).resolve()
    assert f"{mode:04o}" in caught.value.cause


def test_file_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SecretAbsent, match="does not exist"):
        secret("file:pw", tmp_path).resolve()
    with pytest.raises(SecretAbsent):
        secret("file:~nobody-of-this-name/pw", tmp_path).resolve()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a\nb", "more than one line"),
        (b"\xff", "not UTF-8"),
        (b"x" * 70_000, "too long"),
    ],
)
def test_file_with_no_usable_secret_is_a_fault(tmp_path: Path, content: bytes, said: str) -> None:
    private(tmp_path / "pw", content)
    with pytest.raises(ConfigurationError, match=said):
        secret("file:pw", tmp_path).resolve()
    with pytest.raises(ConfigurationError):
        secret("file:.", tmp_path).resolve()


def test_systemd_reads_the_credentials_of_the_unit(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("geheim-3")
    assert value(secret("systemd:pw", environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})) == "geheim-3"
    with pytest.raises(ConfigurationError, match="LoadCredential=pw"):
        secret("systemd:pw").resolve()


def test_keyring_parts_service_and_name_at_the_last_slash(entries: dict[tuple[str, str], str]) -> None:
    entries["https://x/y", "svc"] = "geheim-4"
    assert value(secret("keyring:https://x/y/svc")) == "geheim-4"
    with pytest.raises(ConfigurationError, match="no entry a/b"):
        secret("keyring:a/b").resolve()
    secret("keyring:a/b").store(SecretStr("geheim-5"))
    assert value(secret("keyring:a/b")) == "geheim-5"


def test_a_keyring_that_is_missing_is_a_fault() -> None:
    before = keyring.get_keyring()
    from keyring.backends.fail import Keyring

    keyring.set_keyring(Keyring())  # type: ignore[no-untyped-call]
    try:
        with pytest.raises(ConfigurationError, match="there is no keyring for this account"):
            secret("keyring:a/b").resolve()
    finally:
        keyring.set_keyring(before)


def test_an_empty_secret_is_never_an_empty_password() -> None:
    for found in (secret(""), secret("env:PW", environ={"PW": ""})):
        with pytest.raises(ConfigurationError, match="is empty"):
            found.resolve()


@pytest.mark.parametrize("text", ["geheim-66", "env:PW"])
def test_no_value_in_repr_and_every_value_is_known_to_the_redaction(text: str) -> None:
    found = secret(text, environ={"PW": "geheim-77"})
    resolved = found.resolve()
    shown = f"{found} {found!r} {resolved} {resolved!r} {found.describe()}"
    assert "geheim-66" not in shown
    assert "geheim-77" not in shown
    assert "geheim" not in redacted(f"x {resolved.get_secret_value()} y")


def test_a_literal_with_a_line_end_is_refused() -> None:
    with pytest.raises(ValueError, match="control characters"):
        secret("a\nb")


def test_a_rotated_secret_is_written_atomically_with_mode_0600(tmp_path: Path) -> None:
    private(tmp_path / "real", b"old")
    (tmp_path / "real").chmod(0o644)
    (tmp_path / "pw").symlink_to("real")
    found = secret("file:pw", tmp_path)
    found.store(SecretStr("new-token"))
    assert value(found) == "new-token"
    assert (tmp_path / "pw").is_symlink()
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pw", "real"]


def test_a_secret_that_can_not_be_written_back_says_so(tmp_path: Path) -> None:
    for text in ("env:PW", "literal", "systemd:x", ""):
        with pytest.raises(ConfigurationError, match="can't be written back"):
            secret(text).store(SecretStr("new"))
    with pytest.raises(RightsError):
        secret("file:no/folder/pw", tmp_path).store(SecretStr("new"))
    with pytest.raises(ConfigurationError):
        secret("file:pw", tmp_path).store(SecretStr("two\nlines"))
    assert not (tmp_path / "pw").exists()
