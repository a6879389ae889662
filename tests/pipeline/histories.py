"""Random histories on both sides, with faults between, against the oracle.

A history is a number of steps, each a change by somebody or a pass; then everything is left alone until it is quiet,
and the team must be as the oracle says. The same seed gives the same history.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from pipeline.app import passes
from pipeline.app.compose import Assembly
from pipeline.app.passes import Outside, Simulated
from pipeline.app.report import PassSummary
from pipeline.app.requests import retry
from pipeline.errors import SyncError
from pipeline.model import ActionKind, Outcome, Source, State, Status, Verdict
from tests.pipeline.oracle import Truth, account_of, faults_when_quiet
from tests.pipeline.world import Effect, World

WRITES = (
    ActionKind.INVITE,
    ActionKind.UPDATE,
    ActionKind.SUSPEND,
    ActionKind.UNSUSPEND,
    ActionKind.REMOVE,
    ActionKind.RECOVER,
)
PEOPLE = 24


class Violation(AssertionError):
    """What must not be, with the seed and the steps that led there."""


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


class History:
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
        self._seq = 0
        self._number = PEOPLE
        self.died_protected: set[str] = set()
        self.outsiders: list[str] = []  # members with an address that somebody in the directory wants
        self.given: set[tuple[str, str]] = set()  # who may have the account of whom, by an approval
        self.lives_on = self.random.random() < 0.4  # one process for many passes, as `watch` is
        self._process = AsyncExitStack()
        self._assembly: Assembly | None = None

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

    # --- passes

    async def look(self) -> None:
        """One pass, perhaps with its process dying; what it did must have been right at that moment."""
        world = self.world
        choice = self.random.random()
        before = len(world.team.effects)
        excluded = self._truth().excluded
        start = self._truth()
        self.figures.passes += 1
        owners = self._owners()
        if choice < 0.15:
            self.figures.deaths += 1
            await self.stop()
            await world.run_and_die(self.random.randrange(1, 110), after_effect=self.random.random() < 0.5)
            world.summary = None
            self.trace.append(f"  a pass that dies in {world.gate.died_in or 'nothing'}")
        else:
            full = self.random.random() < 0.15
            foreseen = await self._foresee(full=full) if choice > 0.8 else None
            summary = await self._run(full=full)
            if foreseen is not None:
                await self._compare(foreseen, summary)
            self.figures.codes[int(summary.code)] += 1
            self.trace.append(f"  a pass: {int(summary.code)} {summary.actions} {summary.ended_by or ''}")
            if isinstance(summary.ended_by, SyncError):
                self._violated(f"a fault of ours: {summary.ended_by}")
        world.clock.on_sleep.clear()
        truths = (start, self._truth())
        for effect in world.team.effects[before:]:
            self.figures.effects[effect.kind.value] += 1
            self._check(effect, truths, excluded)
        self._check_owners(owners)
        for member_id, member in self.snapshot.items():
            if world.team.members[member_id] != member:
                self._violated(f"an unmanaged member was touched: {member}")
        self._check_rate()

    async def _run(self, *, full: bool) -> PassSummary:
        world = self.world
        if not self.lives_on:
            return await world.run(full=full)
        if self._assembly is None:
            self._assembly = await self._process.enter_async_context(world.open())
        world.clock.slept.clear()
        with anyio.fail_after(20):
            world.summary = await self._assembly.engine.run(full=full)
        return world.summary

    async def stop(self) -> None:
        """The process that lives on ends."""
        self._assembly = None
        await self._process.aclose()
        self._process = AsyncExitStack()

    def _owners(self) -> dict[str, str]:
        """Whose each account is, by our mark."""
        return {
            member.member_id: member.external_id.removeprefix("ad-guid:")
            for member in self.world.team.members.values()
            if member.external_id.startswith("ad-guid:")
        }

    def _check_owners(self, before: dict[str, str]) -> None:
        """An account passes to another person by an approval of exactly these two, and in no other way."""
        for member_id, owner in self._owners().items():
            earlier = before.get(member_id, owner)
            if owner != earlier and (earlier, owner) not in self.given:
                self._violated(f"the account {member_id} passed from {earlier} to {owner} unseen")

    def _check(self, effect: Effect, truths: tuple[Truth, Truth], excluded: frozenset[str]) -> None:
        """Of an account that changed hands within the pass, both holders may have been the reason."""
        now = self.world.team.members[effect.member_id].external_id
        faults = [self._fault(effect, one, truths, excluded) for one in {effect.external_id, now}]
        if all(faults):
            self._violated(faults[0])

    def _fault(
        self, effect: Effect, external_id: str, truths: tuple[Truth, Truth], excluded: frozenset[str]
    ) -> str:
        kind, member_id, email = effect.kind, effect.member_id, effect.email
        guid = external_id.removeprefix("ad-guid:")
        if member_id in self.strangers:
            return f"{kind} of an unmanaged member {email}"
        if guid in excluded and guid in truths[1].excluded:
            summary = self.world.summary
            if summary is not None and summary.ended_by is None:
                return f"{kind} of the excluded {email}"
        if kind is ActionKind.REMOVE and not any(truth.is_dead(guid) for truth in truths):
            return f"{email} was removed without a tombstone"
        if kind in (ActionKind.SUSPEND, ActionKind.REVOKE_INVITE, ActionKind.REMOVE):
            is_reinvited = kind is ActionKind.REVOKE_INVITE and self._reinvites()
            if all(truth.wants_in(guid) for truth in truths) and not is_reinvited:
                return f"{kind} of {email}, who is listed and enabled"
        if (
            kind in (ActionKind.INVITE, ActionKind.UNSUSPEND, ActionKind.RECOVER)
            and self.world.summary is not None
        ):
            is_told = self.world.summary.ended_by is None and guid in self.world.directory.objects
            if is_told and not any(truth.wants_in(guid) for truth in truths) and not self._is_unseen(guid):
                return f"{kind} of {email}, who is not listed and enabled"
        return ""

    def _reinvites(self) -> bool:
        return self.world.config["users"]["invited_email_change"] == "reinvite"

    def _is_unseen(self, guid: str) -> bool:
        """What the account may not see, it can't act upon."""
        objects = self.world.directory.objects
        return (
            self.world.directory.blind
            or objects[guid].hidden
            or any(objects[group].hidden for group in self.groups)
        )

    def _check_rate(self) -> None:
        """Without an approval no more than ten within a day, however they come."""
        now = self.world.clock.now()
        harm = {
            one.member_id
            for one in self.world.team.effects
            if one.kind in (ActionKind.SUSPEND, ActionKind.REMOVE, ActionKind.REVOKE_INVITE)
            and (now - one.at).total_seconds() < 86_400
        }
        recently = [at for at in (self._approved_at, self._lost_at) if at is not None]
        if len(harm) > 10 and not any((now - at).total_seconds() < 2 * 86_400 for at in recently):
            self._violated(f"{len(harm)} leavers within a day, and nobody approved")

    def _truth(self) -> Truth:
        return Truth(self.world.directory, self.world.group, self.protected)

    def _violated(self, what: str) -> None:
        steps = "\n".join(self.trace[-self.shown :])
        raise Violation(f"{what}\n{self.settings_text}\n{steps}")

    # --- the whole

    async def tell(self, steps: int) -> Figures:
        for number in range(steps):
            self.figures.steps += 1
            draw = self.random.random()
            if draw < 0.28:
                await self.look()
            elif draw < 0.34:
                seconds = self.random.choice((5, 61, 3600, 86_400, 4 * 86_400))
                self.world.clock.turn(seconds=seconds)
                self.trace.append(f"{seconds} s later")
            elif draw < 0.36:
                await self._approve()
            elif draw < 0.37:
                self.figures.journals_lost += 1
                self._lost_at = self.world.clock.now()
                await self.stop()
                self.world.lose_journal()
                self.trace.append("the journal is lost")
            else:
                act = self.step()
                self.figures.kinds[act.__name__] += 1
                length = len(self.world.directory.history)
                act()
                told = [str(one) for one in self.world.directory.history[length:]]
                self.trace.append(f"{number}: {act.__name__} {' '.join(told)}")
        await self._come_to_rest()
        return self.figures

    async def _approve(self) -> None:
        if not self.world.journal_path.exists():
            return
        await self.stop()
        for digest in await self.world.held():
            self._approved_at = self.world.clock.now()
            async with self.world.reading() as journal:
                claims = [one for one in await journal.outbox.claims() if one.hash == digest]
            self.given |= {
                (dict(map(reversed, one.items))["holds"], dict(map(reversed, one.items))["claims"])
                for one in claims
            }
            count = await self.world.approve(digest)
            self.trace.append(f"approved {count} of {digest}")

    async def _come_to_rest(self) -> None:
        world = self.world
        objects = world.directory.objects
        await self.stop()
        world.gate.reset()
        world.gate.clear_faults()
        for kind in ActionKind:
            world.team._faults[kind].clear()
        world.directory.blind = False
        for guid in [*self.people, *self.groups]:
            if guid in objects and objects[guid].hidden and not objects[guid].deleted:
                world.directory.move_into_sight(guid)
        world.team.seats = 1000
        self.trace.append("at rest")
        for number in range(8):
            world.clock.turn(hours=13)
            world.accept_all()
            await self._approve()
            if number > 3:
                await self._retry()
            before = len(world.team.effects)
            summary = await world.run(full=number % 2 == 0)
            if number == 2:
                await self._check_addresses()
            self.trace.append(f"  a pass: {int(summary.code)} {summary.actions} {summary.ended_by or ''}")
            self._approved_at = world.clock.now()
            truth = self._truth()
            for effect in world.team.effects[before:]:
                self._check(effect, (truth, truth), truth.excluded)
        if not truth.listed:
            return
        async with world.reading() as journal:
            for state in (State.PLANNED, State.SENDING, State.RETRY):
                left = await journal.outbox.in_state(state)
                if left:
                    self._violated(f"{state} at rest: {left}")
            if dirty := await journal.dirty(10):
                self._violated(f"dirty at rest: {dirty}")
        before = len(world.team.effects)
        await world.run(full=True)
        if len(world.team.effects) > before:
            self._violated(f"not at rest: {world.team.effects[before:]}")
        faults = faults_when_quiet(
            self._truth(),
            list(world.team.members.values()),
            removes=self.removes,
            exempt=self.died_protected,
        )
        if faults:
            self._violated("at rest:\n" + "\n".join(faults))

    async def _check_addresses(self) -> None:
        """After a full comparison nobody stands refused for an address that is free."""
        async with self.world.reading() as journal:
            failed = await journal.outbox.in_state(State.FAILED)
        for one in failed:
            holders = [
                member
                for member in self.world.team.members.values()
                if member.email == one.changes.email
                and (member.status is not Status.REMOVED or member.recoverable)
            ]
            if one.error == "email_reserved_for_other_user" and not holders:
                self._violated(f"stands refused, though the address is free: {one}")

    async def _foresee(self, *, full: bool) -> Simulated | None:
        """What a simulation says that the next pass would do. None while a fault is on its way: it would meet the simulation."""
        world = self.world
        faults = world.gate._fail_at is not None or any(world.team._faults.values())
        if faults or self.lives_on or world.clock.on_sleep:
            return None
        world.clock.turn(seconds=1)  # a pass begins after the one before has ended
        before, now = len(world.team.effects), world.clock.now()
        clock, passes.SystemClock = passes.SystemClock, lambda: world.clock  # type: ignore[assignment, misc]
        world.clock.slept.clear()
        try:
            with anyio.fail_after(20):
                foreseen = await passes.simulate(
                    world.settings(), full=full, outside=Outside(directory=world.directory, team=world.team)
                )
        finally:
            passes.SystemClock = clock  # type: ignore[misc]
            world.clock._now = now
        if len(world.team.effects) > before:
            self._violated(f"a simulation wrote {world.team.effects[before:]}")
        async with world.reading() as journal:
            self._seq = await journal.last_seq()
        self.figures.foreseen += 1
        return foreseen

    async def _compare(self, foreseen: Simulated, summary: PassSummary) -> None:
        """The plan lists exactly the writes that the pass then sent, and holds exactly what it held."""
        async with self.world.reading() as journal:
            rows = await journal.database.fetch(
                "SELECT action, guid FROM log WHERE kind = 'action' AND state = 'done' AND seq > ?",
                (self._seq,),
            )
        sent = sorted((row["action"], row["guid"]) for row in rows)
        planned = sorted((one["action"], one["guid"]) for one in foreseen.plan["actions"])
        held = sorted(one["hash"] for one in foreseen.plan["held"])
        holds = sorted([*(one.hash for one in summary.held), *(one.hash for one in summary.standing.claims)])
        if (sent, holds) != (planned, held):
            self._violated(
                f"foreseen {planned}, held {held}, {foreseen.summary.ended_by}; "
                f"sent {sent}, held {holds}, {summary.ended_by}"
            )

    async def _retry(self) -> None:
        if not self.world.journal_path.exists():
            return
        journal = await self.world.open_journal()
        try:
            await retry(journal, "", self.world.clock.now(), failed=True)
        finally:
            await journal.close()


async def tell(seed: int, steps: int, folder: Path) -> Figures:
    """One history; Violation where something was not as it must be."""
    history = History(seed, folder)
    with anyio.fail_after(300):
        try:
            return await history.tell(steps)
        finally:
            await history.stop()
