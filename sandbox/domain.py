"""What there is to know of the sandbox's domain: names, passwords, addresses. All of it is made up and open to everybody."""

from dataclasses import dataclass
from pathlib import Path

DOMAIN = "example.test"
NETBIOS = "EXAMPLE"
HOST_NAME = "dc1"
BASE_DN = "DC=example,DC=test"
ADMINISTRATOR_PASSWORD = "Sandbox-Admin-1"
SERVICE_ACCOUNT = "svc-dropbox"
SERVICE_PASSWORD = "Sandbox-Service-1"
BLIND_ACCOUNT = "svc-blind"
BLIND_PASSWORD = "Sandbox-Blind-1"


@dataclass(frozen=True)
class DomainFacts:
    """Whatever a client needs to know of a running domain."""

    address: str
    ca_file: Path
    domain: str = DOMAIN
    base_dn: str = BASE_DN
    host_name: str = f"{HOST_NAME}.{DOMAIN}"
    administrator_dn: str = f"CN=Administrator,CN=Users,{BASE_DN}"
    administrator: str = f"Administrator@{DOMAIN}"
    administrator_password: str = ADMINISTRATOR_PASSWORD
    service_account: str = f"{SERVICE_ACCOUNT}@{DOMAIN}"  # ordinary, but may list and read CN=Deleted Objects
    service_password: str = SERVICE_PASSWORD
    blind_account: str = f"{BLIND_ACCOUNT}@{DOMAIN}"  # ordinary, and may not
    blind_password: str = BLIND_PASSWORD

    @property
    def ldaps_url(self) -> str:
        return f"ldaps://{self.address}"

    @property
    def ldap_url(self) -> str:
        """For StartTLS; without it the server refuses a simple bind."""
        return f"ldap://{self.address}"
