"""A certificate authority made on the spot: TLS in the sandbox is verified for real, with nothing installed anywhere."""

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme


@dataclass(frozen=True)
class CertificateFiles:
    certificate: Path
    key: Path


class Authority:
    """Issues server certificates; whoever should believe them is given `ca_file`.

    The authority lives in `folder` and is taken up again from there, so that servers which are stopped and started do not
    need clients to be told of a new one.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        key_file = folder / "ca.key"
        if self.ca_file.exists() and key_file.exists():
            self._authority = trustme.CA.from_pem(self.ca_file.read_bytes(), key_file.read_bytes())
        else:
            self._authority = trustme.CA(organization_name="Sandbox")
            _write_private(key_file, self._authority.private_key_pem.bytes())
            self.ca_file.write_bytes(self._authority.cert_pem.bytes())

    def issue(self, *names: str, until: datetime | None = None) -> CertificateFiles:
        """A certificate whose subject alternative names are exactly these host names and addresses."""
        issued = self._authority.issue_cert(*names, not_after=until)
        stem = names[0]
        files = CertificateFiles(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        files.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        # Samba refuses a key that anybody else may read.
        _write_private(files.key, issued.private_key_pem.bytes())
        return files

    def server_context(self, *names: str) -> ssl.SSLContext:
        files = self.issue(*names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(files.certificate, files.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)
