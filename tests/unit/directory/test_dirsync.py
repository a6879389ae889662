"""What one page of DirSync becomes, in the forms that Windows sends and Samba does not (reference §1.3 to §1.5)."""

import uuid

import pytest

from pipeline.errors import CheckpointRefused, DirectoryBusy, DirectoryError
from pipeline.model import Kind
from stages.directory import dirsync
from stages.directory.controls import DIRSYNC_OID
from stages.directory.dirsync import DirSyncRefused, deltas_of
from stages.directory.faults import refusal
from stages.directory.wire import Answer, Controller, RawEntry, Search

pytestmark = pytest.mark.anyio

A, B, C, G = (str(uuid.UUID(int=number)) for number in (1, 2, 3, 9))


def entry(who: str, dn: str = "", **values: list[bytes]) -> RawEntry:
    named = {name.replace("__", ";range=").replace("_", "-"): tuple(value) for name, value in values.items()}
    return RawEntry(dn, {"objectguid": (uuid.UUID(who).bytes_le,), "instancetype": (b"4",)} | named)


def link(who: str) -> bytes:
    return f"<GUID={who}>;<SID=S-1-5-21-1>;CN=x,DC=y".encode()


def test_attributes_and_links_of_one_object_come_in_parts_and_are_merged() -> None:
    (delta,) = deltas_of(
        [
            entry(G, f"<GUID={G}>;CN=g,DC=y", name=[b"g"], objectclass=[b"top", b"group"]),
            entry(G, member__1_1=[link(A)]),
            entry(G, member__1_1=[link(B)], member__0_0=[link(C)]),
        ]
    )
    assert (delta.guid, delta.dn, delta.kind) == (G, "CN=g,DC=y", Kind.GROUP)
    assert [target.guid for target in delta.added] == [A, B]
    assert [target.guid for target in delta.removed] == [C]
    assert set(delta.attributes) == {"name", "objectclass", "member"}


def test_the_later_of_two_contrary_links_counts() -> None:
    (delta,) = deltas_of([entry(G, member__1_1=[link(A)]), entry(G, member__0_0=[link(A)])])
    assert (delta.added, [target.guid for target in delta.removed]) == ((), [A])
    (delta,) = deltas_of([entry(G, member__0_0=[link(A)]), entry(G, member__1_1=[link(A)])])
    assert ([target.guid for target in delta.added], delta.removed) == ([A], ())


def test_a_tombstone_may_have_no_dn() -> None:
    (delta,) = deltas_of([entry(A, "", isdeleted=[b"TRUE"])])
    assert (delta.guid, delta.dn, delta.tombstone, delta.restored) == (A, "", True, False)


@pytest.mark.parametrize("value", [[], [b"FALSE"]])
def test_deletion_taken_back_is_a_restore(value: list[bytes]) -> None:
    (delta,) = deltas_of([entry(A, isdeleted=value, name=[b"a"])])
    assert (delta.tombstone, delta.restored) == (False, True)


def test_a_cleared_attribute_is_named() -> None:
    (delta,) = deltas_of([entry(A, mail=[])])
    assert delta.attributes == ("mail",)
    assert not delta.restored


def test_a_whole_member_list_is_not_believed() -> None:
    for values in ({"member": [link(A)]}, {"member__0_1499": [link(A)]}, {"member__0__": [link(A)]}):
        named = {name.replace("member__0__", "member__0_*"): value for name, value in values.items()}
        (delta,) = deltas_of([entry(G, **named)])
        assert delta.members_unknown
        assert delta.added == ()


def test_an_empty_member_beside_a_ranged_one_means_nothing() -> None:
    (delta,) = deltas_of([entry(G, member=[], member__1_1=[link(A)])])
    assert not delta.members_unknown
    assert len(delta.added) == 1


def test_objects_keep_the_order_of_arrival() -> None:
    assert [delta.guid for delta in deltas_of([entry(B), entry(A), entry(B)])] == [B, A]


def test_a_link_without_a_guid_is_an_error() -> None:
    with pytest.raises(DirectoryError):
        deltas_of([entry(G, member__1_1=[b"CN=x,DC=y"])])


class Scripted:
    """Answers what it is given, in order."""

    def __init__(self, controller: Controller, *answers: Answer | Exception) -> None:
        self.controller = controller
        self.answers = list(answers)
        self.seen: list[Search] = []

    async def search(self, request: Search) -> Answer:
        self.seen.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cookies(self) -> list[bytes]:
        values = [value for search in self.seen for oid, _, value in search.controls if oid == DIRSYNC_OID]
        return [value[value.index(b"\x02\x01\x00\x04") + 5 :] for value in values if value]


async def collect(server: Scripted) -> list[tuple]:
    return [page async for page in dirsync.changes(server, b"c0", "mail")]


async def test_pages_follow_each_other_by_cookie(dc: Controller) -> None:
    server = Scripted(
        dc,
        Answer((entry(A),), change_cookie=b"c1", more_changes=True),
        Answer((), change_cookie=b"c2", more_changes=True),
        Answer((entry(B),), change_cookie=b"c3"),
    )
    pages = await collect(server)
    assert [(cookie, more) for _, cookie, more in pages] == [(b"c1", True), (b"c2", True), (b"c3", False)]
    assert [[delta.guid for delta in deltas] for deltas, _, _ in pages] == [[A], [], [B]]
    assert server.cookies() == [b"c0", b"c1", b"c2"]


@pytest.mark.parametrize("code", [2, 12])
async def test_a_refused_cookie_asks_for_a_full_read(dc: Controller, code: int) -> None:
    with pytest.raises(CheckpointRefused):
        await collect(Scripted(dc, refusal("x", code, "0000203D")))


@pytest.mark.parametrize("code", [1, 3, 11, 51, 52])
async def test_busy_keeps_the_cookie(dc: Controller, code: int) -> None:
    with pytest.raises(DirectoryBusy):
        await collect(Scripted(dc, refusal("x", code, "")))


@pytest.mark.parametrize("code", [50, 53])
async def test_missing_rights_are_told_apart_from_a_bad_cookie(dc: Controller, code: int) -> None:
    with pytest.raises(DirSyncRefused):
        await collect(Scripted(dc, refusal("x", code, "")))


async def test_an_error_after_a_page_does_not_end_the_pages(dc: Controller) -> None:
    server = Scripted(dc, Answer((entry(A),), change_cookie=b"c1", more_changes=True), refusal("x", 51, ""))
    pages = dirsync.changes(server, b"c0", "mail")
    assert (await anext(pages))[2] is True
    with pytest.raises(DirectoryBusy):
        await anext(pages)


async def test_an_answer_without_a_cookie_is_an_error(dc: Controller) -> None:
    with pytest.raises(DirectoryError, match="cookie"):
        await collect(Scripted(dc, Answer(())))


async def test_a_server_that_makes_no_progress_is_not_asked_for_ever(dc: Controller) -> None:
    answers = [Answer((), change_cookie=b"c0", more_changes=True)] * 3
    with pytest.raises(DirectoryBusy, match="same"):
        await collect(Scripted(dc, *answers))


async def test_a_fresh_cookie_may_take_several_answers(dc: Controller) -> None:
    server = Scripted(
        dc,
        Answer((), change_cookie=b"c1", more_changes=True),
        Answer((), change_cookie=b"c2"),
    )
    assert await dirsync.fresh_cookie(server, "mail") == b"c2"
    assert server.cookies() == [b"", b"c1"]


@pytest.mark.parametrize("code", [2, 12, 50, 53])
async def test_a_refusal_without_a_cookie_means_another_way(dc: Controller, code: int) -> None:
    with pytest.raises(DirSyncRefused):
        await dirsync.fresh_cookie(Scripted(dc, refusal("x", code, "")), "mail")


async def test_a_read_only_controller_is_not_asked(read_only_dc: Controller) -> None:
    with pytest.raises(DirSyncRefused):
        await dirsync.fresh_cookie(Scripted(read_only_dc), "mail")
