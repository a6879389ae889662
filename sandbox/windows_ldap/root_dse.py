"""The rootDSE (MS-ADTS 3.1.1.3.2): what a DC says of itself before anybody signs in."""

import time

from sandbox.windows_ldap.controller import Controller
from sandbox.windows_ldap.controls import KNOWN
from sandbox.windows_ldap.forest import Forest
from sandbox.windows_ldap.protocol import Found
from sandbox.windows_ldap.schema import truth

_CAPABILITIES = (
    "1.2.840.113556.1.4.800",  # Active Directory
    "1.2.840.113556.1.4.1670",  # since 2003
    "1.2.840.113556.1.4.1791",  # signing and sealing
    "1.2.840.113556.1.4.1935",  # since 2008
    "1.2.840.113556.1.4.2080",  # since 2008 R2
    "1.2.840.113556.1.4.2237",  # since 2012
)
_READ_ONLY_CAPABILITY = "1.2.840.113556.1.4.1920"
_LEVEL = b"7"  # Windows Server 2016


def root_dse(forest: Forest, controller: Controller, wanted: tuple[str, ...]) -> Found:
    values = {name.lower(): (name, held) for name, held in _attributes(forest, controller).items()}
    if not wanted or "*" in wanted:
        return Found("", tuple(values.values()))
    named = (name.lower() for name in wanted)
    return Found("", tuple(values[name] for name in named if name in values))


def _attributes(forest: Forest, controller: Controller) -> dict[str, tuple[bytes, ...]]:
    server = controller.ds_service.partition(",")[2]
    schema = f"CN=Schema,{forest.config_dn}"
    capabilities = [*_CAPABILITIES, *([_READ_ONLY_CAPABILITY] if controller.read_only else [])]
    return {
        "currentTime": (time.strftime("%Y%m%d%H%M%S.0Z", time.gmtime(forest.now())).encode(),),
        "subschemaSubentry": (f"CN=Aggregate,{schema}".encode(),),
        "dsServiceName": (controller.ds_service.encode(),),
        "namingContexts": (
            forest.base_dn.encode(),
            forest.config_dn.encode(),
            schema.encode(),
            f"DC=DomainDnsZones,{forest.base_dn}".encode(),
            f"DC=ForestDnsZones,{forest.base_dn}".encode(),
        ),
        "defaultNamingContext": (forest.base_dn.encode(),),
        "schemaNamingContext": (schema.encode(),),
        "configurationNamingContext": (forest.config_dn.encode(),),
        "rootDomainNamingContext": (forest.base_dn.encode(),),
        "supportedControl": tuple(oid.encode() for oid in KNOWN if oid not in controller.hidden_controls),
        "supportedLDAPVersion": (b"3", b"2"),
        "supportedCapabilities": tuple(oid.encode() for oid in capabilities),
        "highestCommittedUSN": (str(controller.replica.usn).encode(),),
        "supportedSASLMechanisms": (b"GSSAPI", b"GSS-SPNEGO", b"EXTERNAL", b"DIGEST-MD5"),
        "dnsHostName": (controller.host_name.encode(),),
        "ldapServiceName": (
            f"{forest.dns_name}:{controller.name.lower()}$@{forest.dns_name.upper()}".encode(),
        ),
        "serverName": (server.encode(),),
        "isSynchronized": (truth(controller.manners.synchronized),),
        "isGlobalCatalogReady": (b"TRUE",),
        "domainFunctionality": (_LEVEL,),
        "forestFunctionality": (_LEVEL,),
        "domainControllerFunctionality": (_LEVEL,),
    }
