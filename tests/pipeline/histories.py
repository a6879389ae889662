"""Random histories on both sides, with faults between, against the oracle.

A history is a number of steps, each a change by somebody or a pass; then everything is left alone until it is quiet,
and the team must be as the oracle says. The same seed gives the same history.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from pipeline.app.compose import Assembly
from pipeline.app.report import PassSummary
from pipeline.app.requests import retry
from pipeline.errors import SyncError
from pipeline.model import ActionKind, State, Status
from tests.pipeline.foresight import foresee, may_be_foreseen
from tests.pipeline.happenings import Figures, Happenings
from tests.pipeline.oracle import Truth, faults_when_quiet
from tests.pipeline.world import Effect

__all__ = ["Figures", "History", "Violation", "tell"]


class Violation(AssertionError):
    """What must not be, with the seed and the steps that led there."""


class History(Happenings):
    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self._process = AsyncExitStack()
        self._assembly: Assembly | None = None

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
            is_foreseen = choice > 0.8 and not self.lives_on and may_be_foreseen(world)
            foreseen = await foresee(world, full=full) if is_foreseen else None
            summary = await self._run(full=full)
            if foreseen is not None:
                self.figures.foreseen += 1
                if difference := await foreseen.difference(world, summary):
                    self._violated(difference)
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
        marks = {effect.external_id, now}
        # Given by an approval, and the id still to follow: its update may have been refused.
        marks |= {f"ad-guid:{new}" for old, new in self.given if f"ad-guid:{old}" in marks}
        faults = [self._fault(effect, one, truths, excluded) for one in marks]
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
