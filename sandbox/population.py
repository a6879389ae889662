"""The people and groups that the sandbox's domain starts with: plain values, loaded into Samba or into the in-memory double.

Dropbox ─┬─ Engineering Team ─┬─ Ada, Alan, Grace
         │                    └─ Platform Team ─┬─ Linus, Margaret
         │                                      └─ Dropbox            (a cycle: somebody always makes one)
         ├─ Sales Team ─┬─ Estee, Willy
         │              └─ Sales Europe ── Coco, Ingvar
         ├─ Hedy (directly)
         ├─ Rosalind (disabled) and Nikola (no mail): neither gets an account
         └─ Contact and computer: no people, and not to be taken for some

Project Apollo holds Margaret, Grace and Katherine, for the synchronization of groups; Katherine is not in Dropbox.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

DOMAIN = "example.test"


@dataclass(frozen=True)
class PersonSeed:
    given_name: str
    surname: str
    ou: str
    mail: str = ""
    is_enabled: bool = True

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.surname}"

    @property
    def account(self) -> str:
        return f"{self.given_name}.{self.surname}".lower()


@dataclass(frozen=True)
class ContactSeed:
    name: str
    ou: str
    mail: str


@dataclass(frozen=True)
class ComputerSeed:
    name: str
    ou: str


@dataclass(frozen=True)
class GroupSeed:
    name: str
    ou: str
    members: tuple[str, ...] = ()  # names of people, groups, contacts, computers


@dataclass(frozen=True)
class Population:
    units: tuple[str, ...]
    people: tuple[PersonSeed, ...]
    contacts: tuple[ContactSeed, ...]
    computers: tuple[ComputerSeed, ...]
    groups: tuple[GroupSeed, ...]
    sync_group: str


def _person(
    given_name: str, surname: str, ou: str, *, has_mail: bool = True, is_enabled: bool = True
) -> PersonSeed:
    mail = f"{given_name}.{surname}@{DOMAIN}".lower() if has_mail else ""
    return PersonSeed(given_name, surname, ou, mail, is_enabled)


STANDARD = Population(
    units=("Engineering", "Sales", "Sales/Europe", "Research", "Groups", "Machines"),
    people=(
        _person("Ada", "Lovelace", "Engineering"),
        _person("Alan", "Turing", "Engineering"),
        _person("Grace", "Hopper", "Engineering"),
        _person("Linus", "Pauling", "Engineering"),
        _person("Margaret", "Hamilton", "Engineering"),
        _person("Estee", "Lauder", "Sales"),
        _person("Willy", "Loman", "Sales"),
        _person("Coco", "Chanel", "Sales/Europe"),
        _person("Ingvar", "Kamprad", "Sales/Europe"),
        _person("Hedy", "Lamarr", "Research"),
        _person("Rosalind", "Franklin", "Research", is_enabled=False),
        _person("Nikola", "Tesla", "Research", has_mail=False),
        _person("Katherine", "Johnson", "Research"),
    ),
    contacts=(ContactSeed("Acme Support", "Sales", "support@acme.test"),),
    computers=(ComputerSeed("BUILD01", "Machines"),),
    groups=(
        GroupSeed("Platform Team", "Groups", ("Linus Pauling", "Margaret Hamilton", "Dropbox")),
        GroupSeed(
            "Engineering Team", "Groups", ("Ada Lovelace", "Alan Turing", "Grace Hopper", "Platform Team")
        ),
        GroupSeed("Sales Europe", "Groups", ("Coco Chanel", "Ingvar Kamprad")),
        GroupSeed("Sales Team", "Groups", ("Estee Lauder", "Willy Loman", "Sales Europe")),
        GroupSeed(
            "Dropbox",
            "Groups",
            (
                "Engineering Team",
                "Sales Team",
                "Hedy Lamarr",
                "Rosalind Franklin",
                "Nikola Tesla",
                "Acme Support",
                "BUILD01",
            ),
        ),
        GroupSeed("Project Apollo", "Groups", ("Margaret Hamilton", "Grace Hopper", "Katherine Johnson")),
    ),
    sync_group="Dropbox",
)


class Administrator(Protocol):
    """As much of an administrator as loading needs: Samba's has it, and so may a double. Whatever creates answers the objectGUID."""

    def create_ou(self, name: str, *, ou: str = "") -> str: ...

    def create_user(
        self,
        name: str,
        *,
        account: str = "",
        given_name: str = "",
        surname: str = "",
        display_name: str = "",
        mail: str = "",
        ou: str = "",
        enabled: bool = True,
    ) -> str: ...

    def create_group(self, name: str, *, ou: str = "") -> str: ...

    def create_contact(self, name: str, *, mail: str = "", ou: str = "") -> str: ...

    def create_computer(self, name: str, *, ou: str = "") -> str: ...

    def add_members(self, group: str, *members: str) -> None: ...


def load(population: Population, administrator: Administrator) -> Mapping[str, str]:
    """Answers the objectGUID of each person, group, contact and computer by name."""
    guids: dict[str, str] = {}
    for unit in population.units:
        parent, _, name = unit.rpartition("/")
        administrator.create_ou(name, ou=parent)
    for person in population.people:
        guids[person.name] = administrator.create_user(
            person.name,
            account=person.account,
            given_name=person.given_name,
            surname=person.surname,
            display_name=person.name,
            mail=person.mail,
            ou=person.ou,
            enabled=person.is_enabled,
        )
    for contact in population.contacts:
        guids[contact.name] = administrator.create_contact(contact.name, mail=contact.mail, ou=contact.ou)
    for computer in population.computers:
        guids[computer.name] = administrator.create_computer(computer.name, ou=computer.ou)
    for group in population.groups:
        guids[group.name] = administrator.create_group(group.name, ou=group.ou)
    for group in population.groups:  # only now: groups may name each other in a circle
        if group.members:
            administrator.add_members(guids[group.name], *(guids[member] for member in group.members))
    return guids


def people_in(population: Population, group: str) -> frozenset[str]:
    """Names of all people in a group, nested ones too: what a test may compare with."""
    groups = {seed.name: seed for seed in population.groups}
    people = {seed.name for seed in population.people}
    seen: set[str] = set()
    found: set[str] = set()
    waiting = [group]
    while waiting:
        name = waiting.pop()
        if name in people:
            found.add(name)
        if name in groups and name not in seen:
            seen.add(name)
            waiting.extend(groups[name].members)
    return frozenset(found)
