"""Who appears in the demo: the standard people, forty in one nested group, and two hundred who come later."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, product

from rich.tree import Tree

from sandbox.population import DOMAIN, STANDARD, GroupSeed, PersonSeed, Population

_GIVEN = tuple(
    "Anna Ben Carla David Elif Farid Greta Hugo Ines Jonas Kim Lena Marco Nora Omar Paula Rosa Sven Tara Vito".split()  # noqa: SIM905 - a line of names reads better than a column
)
_CARE_SURNAMES = ("Adler", "Berg")
_LATER_SURNAMES = (
    "Costa Dahl Engel Fischer Gruber Haas Ivanov Jansen Keller Lund".split()  # noqa: SIM905
)
CARE_GROUP = "Customer Care"
LATER_GROUP = "Apprentices 2026"


def _people(surnames: tuple[str, ...] | list[str], ou: str, count: int) -> tuple[PersonSeed, ...]:
    return tuple(
        PersonSeed(given, surname, ou, f"{given}.{surname}@{DOMAIN}".lower())
        for surname, given in islice(product(surnames, _GIVEN), count)
    )


_CARE = _people(_CARE_SURNAMES, "Care", 40)
CARE_EMAILS = frozenset(person.mail for person in _CARE)

FIRST = replace(
    STANDARD,
    units=(*STANDARD.units, "Care"),
    people=(*STANDARD.people, *_CARE),
    groups=tuple(
        group
        for seed in STANDARD.groups
        for group in (
            (
                GroupSeed(CARE_GROUP, "Groups", tuple(person.name for person in _CARE)),
                replace(seed, members=(*seed.members, CARE_GROUP)),
            )
            if seed.name == STANDARD.sync_group
            else (seed,)
        )
    ),
)

_LATER = _people(_LATER_SURNAMES, "Apprentices", 200)

LATER = Population(
    units=("Apprentices",),
    people=_LATER,
    contacts=(),
    computers=(),
    groups=(GroupSeed(LATER_GROUP, "Groups", tuple(person.name for person in _LATER)),),
    sync_group=LATER_GROUP,
)
LATER_EMAILS = frozenset(person.mail for person in _LATER)


def drawn(population: Population) -> Tree:
    """The sync group with everything nested in it."""
    groups = {group.name: group for group in population.groups}
    people = {person.name: person for person in population.people}

    def word(name: str) -> str:
        person = people.get(name)
        if person is None:
            return f"{name} (no person)"
        return f"{name}{'' if person.is_enabled else ' (disabled)'}{'' if person.mail else ' (no e-mail)'}"

    def grow(tree: Tree, name: str, above: tuple[str, ...]) -> None:
        singles = [member for member in groups[name].members if member not in groups]
        if singles:
            shown = ", ".join(word(member) for member in singles)
            tree.add(shown if len(singles) < 10 else f"{len(singles)} people")
        for member in groups[name].members:
            if member in (*above, name):
                tree.add(f"{member}, once more: a cycle, which is legal")
            elif member in groups:
                grow(tree.add(f"group {member}"), member, (*above, name))

    root = Tree(f"group {population.sync_group}", highlight=False)
    grow(root, population.sync_group, ())
    return root
