"""What an administrator does in the directory while `watch` runs, and what must arrive in Dropbox for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandbox.scene import Hands


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change in the directory; the write to wait for; the state of the member after it."""

    done: str
    act: Callable[[Hands], object]
    route: str
    email: str
    status: str
    email_after: str = ""


def changes(guids: Mapping[str, str]) -> tuple[Change, ...]:
    """`guids` by the names of the standard people and groups."""
    return (
        Change(
            done="Katherine Johnson joins the group Platform Team, two levels down",
            act=lambda hands: hands.add_members(guids["Platform Team"], guids["Katherine Johnson"]),
            route="add_v2",
            email="katherine.johnson@example.test",
            status="invited",
        ),
        Change(
            done="Ada Lovelace marries: sn=King, mail=ada.king@example.test",
            act=lambda hands: hands.modify(guids["Ada Lovelace"], sn="King", mail="ada.king@example.test"),
            route="set_profile_v2",
            email="ada.lovelace@example.test",
            status="active",
            email_after="ada.king@example.test",
        ),
        Change(
            done="Alan Turing's account is disabled",
            act=lambda hands: hands.disable(guids["Alan Turing"]),
            route="suspend",
            email="alan.turing@example.test",
            status="suspended",
        ),
        Change(
            done="Alan Turing's account is enabled again",
            act=lambda hands: hands.enable(guids["Alan Turing"]),
            route="unsuspend",
            email="alan.turing@example.test",
            status="active",
        ),
        Change(
            done="Coco Chanel is taken out of Sales Europe, two levels down",
            act=lambda hands: hands.remove_members(guids["Sales Europe"], guids["Coco Chanel"]),
            route="suspend",
            email="coco.chanel@example.test",
            status="suspended",
        ),
        Change(
            done="Willy Loman is deleted",
            act=lambda hands: hands.delete(guids["Willy Loman"]),
            route="remove",
            email="willy.loman@example.test",
            status="removed",
        ),
    )
