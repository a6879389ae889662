"""Secrets by reference: the configuration names where a secret lies, and it is fetched when it is needed.

`env:NAME`, `file:PATH`, `keyring:SERVICE/NAME`, `systemd:NAME`, or the literal text. A value is only ever
handed out as `SecretStr`, and is made known to the log's redaction in the same breath. No error, `repr` or
dump of this module contains a value.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from config.windows_rights import narrow
from pipeline.errors import ConfigurationError, RightsError
from pipeline.redaction import register_secret

Scheme = Literal["empty", "env", "file", "keyring", "systemd", "literal"]

_REFERENCE = re.compile(r"(env|file|keyring|systemd):(.*)", re.DOTALL)
_MAX_BYTES = 65_536  # far above any token; keeps a wrong path (a disk image, /dev/zero) from filling memory
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SecretAbsent(ConfigurationError):
    """The file that a `file:` reference names does not exist (yet): nothing has been stored there."""


def readable_by_others(status: os.stat_result) -> bool:
    """Whether anybody but the owner may use the file.

    POSIX only. Windows keeps its rights in access control lists, which `st_mode` does not show: `windows_rights` reads
    them when the configuration is loaded, and here the answer is always no.
    """
    return sys.platform != "win32" and bool(stat.S_IMODE(status.st_mode) & _OTHERS)


def rights_fault(path: Path, status: os.stat_result) -> str:
    """The sentence for a file that others can read: which file, which mode."""
    return (
        f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}, owner uid {status.st_uid})"
    )


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """Where a secret lies. `resolve` fetches it afresh each time: a rotated file is seen without a restart.

    `key` is the configuration key, for messages. `folder` is where relative `file:` paths start.
    """

    key: str
    scheme: Scheme
    _target: SecretStr
    folder: Path
    _environ: Mapping[str, str] = field(compare=False)

    @classmethod
    def parse(cls, key: str, text: str, folder: Path, environ: Mapping[str, str]) -> Secret:
        """Reads a reference. Raises ValueError, without the text, where the reference has no proper form."""
        matched = _REFERENCE.fullmatch(text)
        if matched is None:
            scheme: Scheme = "literal" if text else "empty"
            target = text
        else:
            scheme, target = matched[1], matched[2]  # type: ignore[assignment]  # the pattern allows no other
            _check_target(scheme, target)
        if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in target):
            raise ValueError("must not contain control characters or more than one line")
        if scheme == "literal":
            register_secret(target)
        return cls(key, scheme, SecretStr(target), folder, environ)

    @property
    def is_set(self) -> bool:
        return self.scheme != "empty"

    @property
    def is_literal(self) -> bool:
        return self.scheme == "literal"

    @property
    def file(self) -> Path | None:
        """The absolute path of a `file:` target, else None."""
        if self.scheme != "file":
            return None
        path = Path(self._target.get_secret_value())
        with suppress(RuntimeError):  # ~somebody who does not exist: taken as it stands, and not found
            path = path.expanduser()
        return self.folder / path

    def describe(self) -> str:
        """The reference as it may be shown; a literal is never shown."""
        if self.scheme == "empty":
            return ""
        if self.scheme == "literal":
            return "********"
        return f"{self.scheme}:{self._target.get_secret_value()}"

    def __repr__(self) -> str:
        return f"Secret({self.key!r}, {self.describe()!r})"

    def __str__(self) -> str:
        return self.describe()

    def resolve(self) -> SecretStr:
        """The value, never empty. Reads a file or asks the keyring, so it may block for a moment.

        Raises ConfigurationError where it can't be had (SecretAbsent for a file that does not exist), and
        RightsError where others can read its file or we can't.
        """
        if self.scheme == "empty":
            raise self._fault("is empty")
        target = self._target.get_secret_value()
        if self.scheme == "env":
            value = self._environ.get(target)
            if value is None:
                raise self._fault(f"the environment variable {target} is not set")
        elif self.scheme == "keyring":
            value = self._from_keyring()
        elif self.scheme == "systemd":
            value = self._from_systemd(target)
        elif (path := self.file) is not None:
            value = self._from_file(path, private=True)
        else:
            value = target
        return self._checked(value)

    def demand_place(self) -> None:
        """Raises RightsError or ConfigurationError where `store` could not: before anybody types much that would be lost."""
        if self.scheme == "keyring":
            self._ask_keyring()
        elif (path := self.file) is not None:
            folder = path.resolve().parent
            if not folder.is_dir() or not os.access(folder, os.W_OK):
                trouble = "can't be written to" if folder.is_dir() else "does not exist"
                raise RightsError(
                    f"storing the secret {self.key}",
                    f"the folder {folder} {trouble}",
                    "make it, writable for the account that runs the connector",
                )

    def store(self, value: SecretStr) -> None:
        """Writes a rotated value back to where the reference points: `file:` (atomically, mode 0600) or keyring.

        Raises ConfigurationError for references that can't be written (env, systemd, literal), RightsError
        where the file can't be.
        """
        self._checked(value.get_secret_value())
        if (path := self.file) is not None:
            self._to_file(path, value.get_secret_value())
        elif self.scheme == "keyring":
            self._to_keyring(value.get_secret_value())
        else:
            raise self._fault("can't be written back; use a file: or keyring: reference")

    # --- the places ---------------------------------------------------------------------------------

    def _from_file(self, path: Path, *, private: bool) -> str:
        try:
            with path.open("rb") as source:
                status = os.fstat(source.fileno())
                if private and readable_by_others(status):
                    raise RightsError(f"reading the secret {self.key}", rights_fault(path, status))
                content = source.read(_MAX_BYTES + 1)
        except FileNotFoundError as error:
            raise SecretAbsent(
                f"reading the secret {self.key}", f"{self.key}: the file {path} does not exist"
            ) from error
        except PermissionError as error:
            raise RightsError(
                f"reading the secret {self.key}", f"{path} can't be read by this account"
            ) from error
        except OSError as error:
            raise self._fault(f"{path}: {error.strerror}") from error
        if len(content) > _MAX_BYTES:
            raise self._fault(f"{path} is too long for a secret")
        try:
            # utf-8-sig: editors on Windows put a byte order mark first, which is no part of a password
            return content.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError:
            # from None: the original error carries the file's bytes
            raise self._fault(f"{path} is not UTF-8 text") from None

    def _from_systemd(self, name: str) -> str:
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise self._fault(
                f"systemd gave no credentials (CREDENTIALS_DIRECTORY is not set); use LoadCredential={name}:PATH in the unit"
            )
        # private=False: systemd guards the folder itself, and the files' modes differ by version
        return self._from_file(Path(folder) / name, private=False)

    def _from_keyring(self) -> str:
        value = self._ask_keyring()
        if value is None:
            raise self._fault(f"the keyring has no entry {self._target.get_secret_value()}")
        return value

    def _ask_keyring(self) -> str | None:
        import keyring
        import keyring.errors

        service, _, name = self._target.get_secret_value().rpartition("/")
        try:
            return keyring.get_password(service, name)
        except keyring.errors.NoKeyringError as error:
            raise self._fault(
                "there is no keyring for this account, here and now (a desktop session has one, a service mostly not); "
                "file: and systemd: need none"
            ) from error
        except (keyring.errors.KeyringError, OSError, RuntimeError) as error:
            raise self._fault(f"the keyring can't be read ({type(error).__name__})") from error

    def _to_keyring(self, value: str) -> None:
        import keyring
        import keyring.errors

        service, _, name = self._target.get_secret_value().rpartition("/")
        try:
            keyring.set_password(service, name, value)
        except (keyring.errors.KeyringError, OSError, RuntimeError) as error:
            raise self._fault(f"the keyring can't be written ({type(error).__name__})") from error

    def _to_file(self, path: Path, value: str) -> None:
        target = path.resolve()  # a symbolic link stays one; its target is replaced
        try:
            replace_file(target, value.encode())
        except OSError as error:
            raise RightsError(
                f"writing the secret {self.key}",
                f"{target}: {error.strerror}",
                f"make the folder {target.parent} writable for the account that runs the connector, and the disk not full",
            ) from error

    # --- judgement ----------------------------------------------------------------------------------

    def _checked(self, value: str) -> SecretStr:
        if not value:
            # an empty password makes a simple bind an anonymous one that *succeeds* (RFC 4513, 5.1.2)
            raise self._fault(f"{self.describe()} is empty")
        if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in value):
            raise self._fault(f"{self.describe()} holds control characters or more than one line")
        register_secret(value)
        return SecretStr(value)

    def _fault(self, cause: str) -> ConfigurationError:
        return ConfigurationError(f"reading the secret {self.key}", f"{self.key}: {cause}")


def _check_target(scheme: str, target: str) -> None:
    if not target.strip():
        raise ValueError(f"{scheme}: names nothing after the colon")
    if scheme == "env" and re.fullmatch(r"[^=\s]+", target) is None:
        raise ValueError("env: needs the name of an environment variable")
    if scheme == "keyring" and not all(target.rpartition("/")[::2]):
        raise ValueError("keyring: needs SERVICE/NAME")
    if scheme == "systemd" and ("/" in target or target in {".", ".."}):
        raise ValueError("systemd: needs the plain name of a credential")


def replace_file(path: Path, content: bytes) -> None:
    """Puts a file in place whole or not at all; mode 0600, the old file's owner where we may set it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600, O_EXCL
    try:
        with os.fdopen(descriptor, "wb") as target:
            narrow(Path(name))  # before anything is in it
            if sys.platform != "win32" and os.geteuid() == 0 and path.exists():
                # `authorize` run as root must not take the token away from the service's account
                old = path.stat()
                os.fchown(target.fileno(), old.st_uid, old.st_gid)
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    if sys.platform != "win32":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else a power cut can bring the old, already revoked token back
        finally:
            os.close(folder)
