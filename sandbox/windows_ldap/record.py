"""One object as one domain controller holds it: values with the stamps that replication goes by (MS-ADTS 3.1.1.1.9)."""

import uuid
from dataclasses import dataclass, field

from sandbox.windows_ldap.schema import display_name


@dataclass(frozen=True, order=True)
class Stamp:
    """Of two writes the greater wins, on every DC alike. `usn` is that of the DC which wrote first."""

    version: int
    at: int  # ticks of the forest
    dsa: uuid.UUID
    usn: int


@dataclass(frozen=True)
class Stored:
    """An attribute. Cleared ones stay, with no values: that is how their clearing replicates."""

    name: str
    values: tuple[bytes, ...]
    stamp: Stamp
    local_usn: int


@dataclass(frozen=True)
class LinkValue:
    """A value of a forward link. A removed one stays, absent."""

    target: uuid.UUID
    present: bool
    stamp: Stamp
    local_usn: int


@dataclass
class Record:
    guid: uuid.UUID
    rdn_kind: str = "CN"
    parent: uuid.UUID | None = None
    root_dn: str = ""  # of a naming context's head
    phantom: bool = False  # known by name only: an object of another domain
    attributes: dict[str, Stored] = field(default_factory=dict)
    links: dict[str, dict[uuid.UUID, LinkValue]] = field(default_factory=dict)
    usn_created: int = 0
    usn_changed: int = 0
    changed_at: float = 0.0  # seconds of the forest's clock
    deleted_at: float | None = None
    recycled_at: float | None = None
    found_as: tuple[uuid.UUID, str] | None = None  # its place in the index of names: parent and name

    def values(self, attribute: str) -> tuple[bytes, ...]:
        stored = self.attributes.get(attribute)
        return stored.values if stored else ()

    def value(self, attribute: str) -> bytes:
        values = self.values(attribute)
        return values[0] if values else b""

    def text(self, attribute: str) -> str:
        return self.value(attribute).decode(errors="replace")

    def number(self, attribute: str) -> int | None:
        value = self.value(attribute)
        return int(value) if value else None

    @property
    def name(self) -> str:
        return self.text("name")

    @property
    def is_deleted(self) -> bool:
        return self.value("isdeleted") == b"TRUE"

    @property
    def is_recycled(self) -> bool:
        return self.value("isrecycled") == b"TRUE"

    @property
    def is_tombstone_like(self) -> bool:
        """Deleted by somebody; `CN=Deleted Objects` carries isDeleted as well and is no tombstone."""
        return self.is_deleted and bool(self.values("lastknownparent"))

    @property
    def has_lost_links(self) -> bool:
        """A tombstone and a recycled-object have no links; a deleted-object of the Recycle Bin keeps them, hidden."""
        return self.is_tombstone_like and (self.is_recycled or not self.values("msds-lastknownrdn"))

    def copy(self) -> "Record":
        return Record(
            self.guid,
            self.rdn_kind,
            self.parent,
            self.root_dn,
            self.phantom,
            dict(self.attributes),
            {name: dict(values) for name, values in self.links.items()},
            self.usn_created,
            self.usn_changed,
            self.changed_at,
            self.deleted_at,
            self.recycled_at,
        )

    def put(self, attribute: str, values: tuple[bytes, ...], stamp: Stamp, local_usn: int) -> None:
        self.attributes[attribute.lower()] = Stored(display_name(attribute), values, stamp, local_usn)
