"""Tombstones, the Recycle Bin, restores, garbage collection; who sees them."""

import uuid

import ldap3
import pytest

from sandbox.windows_ldap import WindowsDomain
from tests.sandbox_windows.client import EXTENDED_DN, SHOW_DELETED, SHOW_RECYCLED, Client

DEACTIVATED = ("1.2.840.113556.1.4.2065", True, None)


@pytest.fixture(params=[False, True], ids=["tombstones", "recycle bin"])
def domain(request) -> WindowsDomain:
    return WindowsDomain(recycle_bin=request.param)


@pytest.fixture
def ann(domain: WindowsDomain) -> str:
    ann = domain.create_user("Ann", mail="ann@example.test", surname="Lee")
    domain.create_group("G", members=[ann])
    return ann


def tombstone(client: Client, guid: str, *controls) -> dict[str, list[bytes]]:
    reply = client.read(f"<GUID={guid}>", "*", controls=[SHOW_DELETED, *controls])
    return reply.raw() if reply.entries else {}


def test_a_deletion_in_dirsync(service: Client, domain: WindowsDomain, ann) -> None:
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.delete(ann)
    cycle = service.dirsync_all(domain.base_dn, cookie)
    (entry,) = cycle.of(ann)
    assert entry["isDeleted"] == [b"TRUE"]
    assert entry["name"] == [f"Ann\nDEL:{ann}".encode()]
    assert entry["parentGUID"] == [uuid.UUID(domain.guid(f"CN=Deleted Objects,{domain.base_dn}")).bytes_le]
    assert cycle.entries[0]["dn"].endswith(f";CN=Ann\\0ADEL:{ann},CN=Deleted Objects,{domain.base_dn}")
    assert cycle.guids == {ann}  # and nothing about the group
    if not domain.recycle_bin:
        assert (entry["mail"], entry["sn"]) == ([], [])
        assert "sAMAccountName" not in entry
    else:
        assert "mail" not in entry


def test_what_a_deleted_object_keeps(service: Client, domain: WindowsDomain, ann) -> None:
    domain.delete(ann)
    left = tombstone(service, ann)
    assert {"objectClass", "objectSid", "sAMAccountName", "userAccountControl", "lastKnownParent"} <= set(
        left
    )
    assert left["lastKnownParent"] == [f"CN=Users,{domain.base_dn}".encode()]
    assert not {"objectCategory", "sAMAccountType"} & set(left)
    assert ("mail" in left) is domain.recycle_bin
    assert "memberOf" not in left
    assert ("memberOf" in tombstone(service, ann, DEACTIVATED)) is domain.recycle_bin
    assert domain.members("G") == []


def test_filters_that_miss_a_deletion(service: Client, domain: WindowsDomain, ann) -> None:
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.delete(ann)
    for query, hits in (
        ("(objectClass=user)", True),
        ("(&(objectCategory=person)(objectClass=user))", False),
        ("(mail=*)", domain.recycle_bin),
    ):
        assert bool(service.dirsync_all(domain.base_dn, cookie, query=query).of(ann)) is hits, query


def test_without_the_control_a_deleted_object_is_not_there(
    service: Client, domain: WindowsDomain, ann
) -> None:
    domain.delete(ann)
    assert service.read(f"<GUID={ann}>").code == 32
    assert not service.search(domain.base_dn, "(sAMAccountName=ann)").entries
    assert service.search(domain.base_dn, "(sAMAccountName=ann)", controls=[SHOW_DELETED]).entries


def test_a_restore(service: Client, domain: WindowsDomain, ann) -> None:
    domain.delete(ann)
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.restore(ann)
    cycle = service.dirsync_all(domain.base_dn, cookie)
    (entry,) = cycle.of(ann)
    assert (entry["isDeleted"], entry["name"]) == ([], [b"Ann"])
    assert cycle.guids == {ann}  # links come back, or don't, without a word
    assert bool(domain.members("G")) is domain.recycle_bin
    living = service.read(f"<GUID={ann}>", "*").raw()
    assert ("mail" in living) is domain.recycle_bin
    assert "sAMAccountType" in living
    assert "lastKnownParent" in living
    assert living["primaryGroupID"] == [b"513"]


def test_a_link_made_and_hidden_between_two_polls_is_never_told(
    service: Client, domain: WindowsDomain, ann
) -> None:
    bob = domain.create_user("Bob")
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.add_members("G", bob)
    domain.delete(bob)
    cycle = service.dirsync_all(domain.base_dn, cookie)
    assert cycle.of(domain.guid("G")) == []


def test_a_deleted_group_and_its_members(service: Client, domain: WindowsDomain, ann) -> None:
    group = domain.delete("G")
    assert "memberOf" not in service.read(f"<GUID={ann}>", "*").raw()
    domain.restore(group)
    assert bool(domain.members("G")) is domain.recycle_bin


def test_the_usn_way_to_deletions(service: Client, domain: WindowsDomain, ann) -> None:
    low = domain.dc.replica.usn
    usn_of_group = service.read(domain.dn("G"), "uSNChanged").raw()
    domain.delete(ann)
    base = f"<WKGUID=18e2ea80684f11d2b9aa00c04f79f805,{domain.base_dn}>"
    query = f"(&(isDeleted=TRUE)(uSNChanged>={low + 1}))"
    found = service.search(base, query, attributes=["objectGUID"], controls=[SHOW_DELETED, EXTENDED_DN])
    assert [entry["raw_attributes"]["objectGUID"] for entry in found.entries] == [[uuid.UUID(ann).bytes_le]]
    assert service.read(domain.dn("G"), "uSNChanged").raw() == usn_of_group


# --------------------------------------------------------------------------------------------------------- who sees it


def test_an_account_without_the_right_gets_an_empty_name(blind: Client, domain: WindowsDomain, ann) -> None:
    cookie = blind.dirsync_all(domain.base_dn).cookie
    domain.delete(ann)
    cycle = blind.dirsync_all(domain.base_dn, cookie)
    assert [entry["dn"] for entry in cycle.entries] == [""]
    assert cycle.of(ann) == [{"objectGUID": [uuid.UUID(ann).bytes_le], "isDeleted": [b"TRUE"]}]


def test_an_account_without_the_right_finds_nothing_and_no_error(
    blind: Client, service: Client, domain: WindowsDomain, ann
) -> None:
    domain.delete(ann)
    container = f"CN=Deleted Objects,{domain.base_dn}"
    for scope in (ldap3.BASE, ldap3.LEVEL, ldap3.SUBTREE):
        reply = blind.search(container, "(isDeleted=TRUE)", scope, controls=[SHOW_DELETED])
        assert (reply.code, reply.entries) == (0, [])
        assert service.search(container, "(isDeleted=TRUE)", scope, controls=[SHOW_DELETED]).entries
    assert blind.read(f"<GUID={ann}>", controls=[SHOW_DELETED]).code == 32


# ----------------------------------------------------------------------------------------------------------- the end


def test_garbage_collection(service: Client, domain: WindowsDomain, ann) -> None:
    domain.delete(ann)
    domain.advance(days=179)
    assert domain.collect_garbage() == 0
    assert tombstone(service, ann)
    domain.advance(days=2)
    cookie = service.dirsync_all(domain.base_dn).cookie
    if domain.recycle_bin:
        assert domain.collect_garbage() == 0
        assert tombstone(service, ann) == {}
        recycled = service.read(f"<GUID={ann}>", "*", controls=[SHOW_RECYCLED]).raw()
        assert recycled["isRecycled"] == [b"TRUE"]
        assert "mail" not in recycled
        with pytest.raises(ValueError, match="restored"):
            domain.restore(ann)
        domain.advance(days=181)
    assert domain.collect_garbage() == 1
    assert service.read(f"<GUID={ann}>", controls=[SHOW_RECYCLED]).code == 32
    assert service.dirsync_all(domain.base_dn, cookie).entries == []


def test_what_is_expunged_leaves_no_trace(service: Client, domain: WindowsDomain, ann) -> None:
    cookie, usn = service.dirsync_all(domain.base_dn).cookie, domain.dc.replica.usn
    domain.expunge(ann)
    assert service.dirsync_all(domain.base_dn, cookie).entries == []
    assert (domain.dc.replica.usn, domain.members("G")) == (usn, [])
    assert service.read(f"<GUID={ann}>", controls=[SHOW_RECYCLED]).code == 32


def test_an_unset_lifetime_means_sixty_days(ann) -> None:
    domain = WindowsDomain(tombstone_days=None)
    gone = domain.delete(domain.create_user("Bob"))
    domain.advance(days=61)
    assert domain.collect_garbage() == 1
    assert uuid.UUID(gone) not in domain.dc.replica.records
