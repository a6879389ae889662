"""What may happen in a random history: the directory's admins, Dropbox's, people who accept, and faults between."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.model import ActionKind, Outcome, Source, Status, Verdict
from tests.pipeline.oracle import Truth, account_of
from tests.pipeline.world import World

WRITES = (
    ActionKind.INVITE,
    ActionKind.UPDATE,
    ActionKind.SUSPEND,
    ActionKind.UNSUSPEND,
    ActionKind.REMOVE,
    ActionKind.RECOVER,
)
PEOPLE = 24


@dataclass(slots=True)
class Figures:
    histories: int = 0
    steps: int = 0
    passes: int = 0
    deaths: int = 0
    journals_lost: int = 0
    foreseen: int = 0  # passes that a simulation told before
    effects: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, other: Figures) -> None:
        self.histories += other.histories
        self.steps += other.steps
        self.passes += other.passes
        self.deaths += other.deaths
        self.journals_lost += other.journals_lost
        self.foreseen += other.foreseen
        self.effects += other.effects
        self.codes += other.codes
        self.kinds += other.kinds


class Happenings:
    """Each step is a method; all draw from one source of chance, so that a seed tells the same history again."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.figures = Figures(histories=1)
        self.trace: list[str] = []
        self.shown = 60
        choose = self.random.choice
        self.manages_existing = self.random.random() < 0.75
        self.removes = self.random.random() < 0.8
        users = {
            "manage_existing": self.manages_existing,
            "on_delete": "remove" if self.removes else "suspend",
            "delete_grace_days": choose((0, 0, 2)),
            "leave_settle_seconds": choose((60, 60, 0)),
            "invited_email_change": choose(("wait", "wait", "reinvite")),
            "reinvite_days": choose((0, 3)),
            "exclude_group": "Protected",
        }
        options = {"source": choose(tuple(Source)), "recycle_bin": choose((False, False, True))}
        self.world = World(folder, config={"users": users}, options=options)
        self.world.team.seats = choose((1000, 1000, 1000, 22))
        directory = self.world.directory
        self.groups = [directory.create_group(f"G{number}") for number in range(5)]
        self.protected = directory.create_group("Protected")
        directory.add_members(self.world.group, self.groups[0], self.groups[1])
        directory.add_member(self.groups[1], self.groups[2])
        self.people: list[str] = []
        for number in range(PEOPLE):
            groups = [self.world.group] if number % 3 else [choose(self.groups)]
            self.people.append(self.world.person(f"p{number:02}", groups=groups))
        directory.add_member(self.protected, self.people[0])
        self.strangers: set[str] = set()
        for number in range(3):
            self._stranger(f"outsider{number}@else.test", "")
        self._stranger("outsider9@else.test", "ad-guid:11111111-2222-3333-4444-555555555555")
        self.snapshot = {one: self.world.team.members[one] for one in self.strangers}
        self.settings_text = f"seed {seed}: {users}, {options}, {self.world.team.seats} seats"
        self._approved_at = self._lost_at = None
        self._number = PEOPLE
        self.died_protected: set[str] = set()
        self.outsiders: list[str] = []  # members with an address that somebody in the directory wants
        self.given: set[tuple[str, str]] = set()  # who may have the account of whom, by an approval
        self.lives_on = self.random.random() < 0.4  # one process for many passes, as `watch` is

    # --- what may happen

    def _stranger(self, email: str, external_id: str) -> None:
        self.strangers.add(self.world.team.add(email, external_id=external_id).member_id)

    def _alive(self, *, visible: bool = True) -> list[str]:
        objects = self.world.directory.objects
        return [
            guid
            for guid in self.people
            if guid in objects and not objects[guid].deleted and not (visible and objects[guid].hidden)
        ]

    def _living_groups(self, *, visible: bool = True) -> list[str]:
        objects = self.world.directory.objects
        return [
            guid
            for guid in [self.world.group, *self.groups]
            if not objects[guid].deleted and not (visible and objects[guid].hidden)
        ]

    def _managed(self) -> list[str]:
        return [
            guid for guid in self.people if account_of(guid, self.world.team.members.values()) is not None
        ]

    def step(self) -> Callable[[], None]:
        return self.random.choices(
            [
                self.rename,
                self.change_email,
                self.take_email,
                self.spoil_email,
                self.able,
                self.join_or_leave,
                self.newcomer,
                self.namesake,
                self.delete,
                self.restore,
                self.expunge,
                self.nest,
                self.kill_group,
                self.hide,
                self.primary,
                self.protect,
                self.accept,
                self.console_status,
                self.console_edit,
                self.console_remove,
                self.forget_removed,
                self.existing_member,
                self.fail_write,
                self.fail_read,
                self.odd_directory,
                self.clear_and_refill,
                self.recreate,
                self.outsider_holds,
                self.outsider_frees,
            ],
            weights=[6, 6, 4, 2, 8, 14, 5, 2, 4, 3, 1, 4, 1, 3, 2, 2, 10, 4, 3, 2, 2, 2, 6, 4, 3, 1, 3, 3, 3],
        )[0]

    def rename(self) -> None:
        guid = self.random.choice(self._alive())
        name = f"Name{self.random.randrange(100)}"
        self.world.directory.modify(guid, **{self.random.choice(("surname", "given_name")): name})

    def change_email(self, guid: str = "") -> None:
        guid = guid or self.random.choice(self._alive())
        self.world.directory.modify(guid, mail=f"mail{self.random.randrange(300)}@example.test")

    def take_email(self) -> None:
        """Of a colleague: chains, swaps, shared addresses."""
        one, other = self.random.sample(self._alive(), 2)
        objects = self.world.directory.objects
        first, second = objects[one].mail, objects[other].mail
        self.world.directory.modify(one, mail=second or None)
        match self.random.randrange(3):
            case 0:
                self.world.directory.modify(other, mail=first or None)
            case 1:
                self.change_email(other)

    def spoil_email(self) -> None:
        self.world.directory.modify(
            self.random.choice(self._alive()), mail=self.random.choice((None, "not an address"))
        )

    def able(self) -> None:
        guid = self.random.choice(self._alive())
        if self.world.directory.objects[guid].enabled:
            self.world.directory.disable(guid)
        else:
            self.world.directory.enable(guid)

    def join_or_leave(self) -> None:
        guid = self.random.choice(self._alive(visible=False))
        group = self.random.choice(self._living_groups())
        if guid in self.world.directory.objects[group].members:
            self.world.directory.remove_member(group, guid)
        else:
            self.world.directory.add_member(group, guid)

    def newcomer(self) -> None:
        self._number += 1
        if len(self._alive()) < PEOPLE + 10:
            group = self.random.choice(self._living_groups())
            self.people.append(self.world.person(f"p{self._number:02}", groups=[group]))

    def namesake(self) -> None:
        self._number += 1
        guid = self.random.choice(self.people)
        members = [account_of(guid, self.world.team.members.values())]
        if members[0] is not None:
            name = f"p{self._number:02}"
            self.people.append(self.world.person(name, mail=members[0].email, groups=[self.world.group]))

    def recreate(self) -> None:
        """Deleted, disabled or taken out, and made anew with the same e-mail."""
        guid = self.random.choice(self._alive())
        account = account_of(guid, self.world.team.members.values())
        if account is None or len(self._alive()) > PEOPLE + 12:
            return
        match self.random.randrange(3):
            case 0 if len(self._alive()) > PEOPLE - 8:
                if guid in self._truth().excluded:
                    self.died_protected.add(guid)
                self.world.directory.delete(guid)
            case 1:
                self.world.directory.disable(guid)
            case _:
                for group in self._living_groups():
                    if guid in self.world.directory.objects[group].members:
                        self.world.directory.remove_member(group, guid)
        self._number += 1
        name = f"p{self._number:02}"
        self.people.append(self.world.person(name, mail=account.email, groups=[self.world.group]))

    def outsider_holds(self) -> None:
        """Somebody changes name and address, and the address is another member's, whom nobody matches."""
        guid = self.random.choice(self._alive())
        if account_of(guid, self.world.team.members.values()) is None:
            return
        self._number += 1
        email = f"held{self._number}@example.test"
        member = self.world.team.add(email, given_name="Out", surname="Sider")
        self.outsiders.append(member.member_id)
        if not self.manages_existing:
            self.strangers.add(member.member_id)
            self.snapshot[member.member_id] = member
        self.world.directory.modify(guid, mail=email, surname=f"Held{self._number}")

    def outsider_frees(self) -> None:
        if not self.outsiders:
            return
        member = self.world.team.members[self.random.choice(self.outsiders)]
        if member.external_id:
            return  # somebody's by now
        self._number += 1
        freed = replace(member, email=f"gone{self._number}@else.test")
        self.world.team.members[member.member_id] = freed
        if member.member_id in self.snapshot:
            self.snapshot[member.member_id] = freed

    def delete(self) -> None:
        if len(self._alive()) > PEOPLE - 8:
            guid = self.random.choice(self._alive(visible=False))
            if guid in self._truth().excluded:
                self.died_protected.add(guid)  # the protection outlives them
            self.world.directory.delete(guid)

    def restore(self) -> None:
        objects = self.world.directory.objects
        dead = [guid for guid in self.people if guid in objects and objects[guid].deleted]
        if dead:
            guid = self.random.choice(dead)
            self.world.directory.restore(guid)
            self.died_protected.discard(guid)
            if not objects[guid].hidden and not objects[guid].surname:
                self.world.directory.modify(guid, surname="Restored", given_name="Rita")

    def expunge(self) -> None:
        if len(self._alive()) > PEOPLE - 8:
            self.world.directory.expunge(self.random.choice(self._alive()))

    def nest(self) -> None:
        groups = self._living_groups()
        if len(groups) > 1:
            outer, inner = self.random.sample(groups, 2)
            if inner in self.world.directory.objects[outer].members:
                self.world.directory.remove_member(outer, inner)
            else:
                self.world.directory.add_member(outer, inner)  # circles are legal

    def kill_group(self) -> None:
        candidates = [guid for guid in self._living_groups() if guid != self.world.group]
        if len(candidates) > 2:
            self.world.directory.delete(self.random.choice(candidates))
            self._number += 1
            self.groups.append(self.world.directory.create_group(f"G{self._number}"))

    def hide(self) -> None:
        objects = self.world.directory.objects
        guid = self.random.choice([*self._alive(visible=False), *self.groups])
        if objects[guid].deleted:
            return
        if objects[guid].hidden:
            self.world.directory.move_into_sight(guid)
        else:
            self.world.directory.move_out_of_sight(guid)

    def primary(self) -> None:
        guid = self.random.choice(self._alive())
        groups = [*self._living_groups(), self.world.directory.domain_users]
        before = self.world.directory.objects[guid].primary_rid
        held = [one for one in groups if self.world.directory.objects[one].rid == before]
        group = self.random.choice(groups)
        if group not in held and held and guid not in self.world.directory.objects[held[0]].members:
            self.world.directory.set_primary_group(guid, group)

    def protect(self) -> None:
        guid = self.random.choice(self._alive())
        if guid in self.world.directory.objects[self.protected].members:
            self.world.directory.remove_member(self.protected, guid)
        else:
            self.world.directory.add_member(self.protected, guid)

    def accept(self) -> None:
        for member in list(self.world.team.members.values()):
            if member.status is Status.INVITED and self.random.random() < 0.5:
                self.world.team.join(member.member_id)

    def console_status(self) -> None:
        for guid in self.random.sample(self.people, 2):
            member = account_of(guid, self.world.team.members.values())
            if member is not None and member.status in (Status.ACTIVE, Status.SUSPENDED):
                other = Status.SUSPENDED if member.status is Status.ACTIVE else Status.ACTIVE
                self.world.team.members[member.member_id] = replace(member, status=other)

    def console_edit(self) -> None:
        member = account_of(self.random.choice(self.people), self.world.team.members.values())
        if member is not None and member.status is Status.ACTIVE:
            number = self.random.randrange(100)
            edited = (
                replace(member, surname=f"Console{number}")
                if self.random.random() < 0.6
                else replace(member, email=f"console{number}@example.test")
            )
            if not any(
                one.email == edited.email and one is not member for one in self.world.team.members.values()
            ):
                self.world.team.members[member.member_id] = edited

    def console_remove(self) -> None:
        member = account_of(self.random.choice(self.people), self.world.team.members.values())
        if member is not None and member.status is not Status.REMOVED:
            recoverable = member.status is not Status.INVITED
            self.world.team.members[member.member_id] = replace(
                member, status=Status.REMOVED, recoverable=recoverable
            )

    def forget_removed(self) -> None:
        for member in list(self.world.team.members.values()):
            if member.status is Status.REMOVED and member.recoverable and self.random.random() < 0.5:
                self.world.team.expire_recovery(member.member_id)

    def existing_member(self) -> None:
        """An account that an admin made by hand, with somebody's address."""
        guid = self.random.choice(self._alive())
        email = self.world.directory.objects[guid].mail.lower()
        if email.endswith("@example.test") and not any(
            one.email == email for one in self.world.team.members.values()
        ):
            member = self.world.team.add(email, given_name="By", surname="Hand")
            if not self.manages_existing:
                self.strangers.add(member.member_id)
                self.snapshot[member.member_id] = member

    def fail_write(self) -> None:
        kind = self.random.choice(WRITES)
        match self.random.randrange(4):
            case 0:
                self.world.team.break_next(kind, lost="before")
            case 1:
                self.world.team.break_next(kind, lost="after")
            case 2:
                outcome = Outcome(verdict=Verdict.RETRY, tag="internal")
                for _ in range(self.random.randrange(1, 12)):
                    self.world.team.break_next(kind, outcome=outcome)
            case _:
                self.world.team.break_next(kind, tag="other")

    def fail_read(self) -> None:
        self.world.gate.fail_at(self.random.randrange(1, 25), [])

    def odd_directory(self) -> None:
        match self.random.randrange(4):
            case 0:
                self.world.directory.refuse_checkpoints()
            case 1:
                self.world.directory.blind = not self.world.directory.blind
            case 2:
                self.world.directory.replay(self.random.randrange(1, 40))
            case _:
                self.world.directory.page_size = self.random.choice((1, 3, 1000))

    def clear_and_refill(self) -> None:
        group = self.random.choice(self._living_groups())
        living = self.world.directory.living_members(group)
        self.world.directory.remove_members(group, *living)

        def refill() -> None:
            now = self.world.directory.objects[group].members
            back = [
                one
                for one in living
                if one not in now
                and one in self.world.directory.objects
                and not self.world.directory.objects[one].deleted
            ]
            if not self.world.directory.objects[group].deleted:
                self.world.directory.add_members(group, *back)

        self._refill = refill
        self.world.clock.on_sleep.append(refill)

    def _truth(self) -> Truth:
        return Truth(self.world.directory, self.world.group, self.protected)
