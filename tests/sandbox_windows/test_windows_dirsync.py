"""DirSync: encoding, rights, what an entry holds, pages, cookies."""

import itertools
import uuid

import ldap3
import pytest

from sandbox.domain import ADMINISTRATOR_PASSWORD
from sandbox.windows_ldap import WindowsDomain
from tests.sandbox_windows.client import DIRSYNC, FLAGS, SHOW_DELETED, Client, Connect, dirsync_value, guid_of

NO_INCREMENTAL = 0x00000801
SYSTEM_VIEW = 0x80000800


@pytest.fixture
def start(service: Client, domain: WindowsDomain) -> bytes:
    """A cookie of now."""
    return service.dirsync_all(domain.base_dn).cookie


def changes(client: Client, domain: WindowsDomain, cookie: bytes, who: str, **options):
    return client.dirsync_all(domain.base_dn, cookie, **options).of(who)


# -------------------------------------------------------------------------------------------------- encoding, rights


def test_five_byte_flags_are_refused_with_12(service: Client, domain: WindowsDomain) -> None:
    value = bytes.fromhex("300d" + "02050080000801" + "020100" + "0401" + "00")
    assert len(value) == 15
    refused = service.search(domain.base_dn, controls=[(DIRSYNC, True, value)])
    assert (refused.code, "Error processing control" in refused.message) == (12, True)


def test_what_ldap3_sends_by_itself_is_refused_with_12(service: Client, domain: WindowsDomain) -> None:
    """ldap3#642: its default flags take five bytes on a 64-bit machine."""
    sync = service.connection.extend.microsoft.dir_sync(
        domain.base_dn, object_security=True, attributes=["name"]
    )
    with pytest.raises(Exception, match=r"12|unavailableCriticalExtension|Missing DirSync"):
        sync.loop()


def test_a_control_that_is_not_critical_is_refused(service: Client, domain: WindowsDomain) -> None:
    assert service.search(domain.base_dn, controls=[(DIRSYNC, False, dirsync_value(FLAGS, b""))]).code == 2


def test_without_object_security_the_right_to_get_changes_is_needed(
    service: Client, connect: Connect, domain: WindowsDomain
) -> None:
    assert service.dirsync(domain.base_dn, flags=SYSTEM_VIEW).code == 50
    administrator = connect("Administrator", ADMINISTRATOR_PASSWORD)
    assert administrator.dirsync(domain.base_dn, flags=SYSTEM_VIEW).code == 0


def test_the_base_must_be_the_head_of_a_naming_context(
    service: Client, connect: Connect, domain: WindowsDomain
) -> None:
    below = f"CN=Users,{domain.base_dn}"
    assert service.dirsync(below).code == 53
    administrator = connect("Administrator", ADMINISTRATOR_PASSWORD)
    assert administrator.dirsync(below, flags=SYSTEM_VIEW).code == 50


@pytest.mark.parametrize("code", [53, 50, 1])
def test_a_read_only_dc_refuses(service: Client, domain: WindowsDomain, code) -> None:
    domain.dc.read_only = True
    domain.dc.manners.rodc_dirsync_code = code
    assert service.dirsync(domain.base_dn).code == code


# -------------------------------------------------------------------------------------------------- what entries hold


def test_the_first_time_everything_that_is_set_comes(service: Client, domain: WindowsDomain) -> None:
    ann = domain.create_user("Ann", mail="ann@example.test", surname="Lee")
    domain.modify(ann, sn=None)
    group = domain.create_group("G", members=[ann])
    cycle = service.dirsync_all(domain.base_dn)
    entry = cycle.of(ann)[0]
    assert entry["mail"] == [b"ann@example.test"]
    assert "sn" not in entry
    assert entry["instanceType"] == [b"4"]
    assert entry["parentGUID"] == [uuid.UUID(domain.guid(f"CN=Users,{domain.base_dn}")).bytes_le]
    of_group = cycle.of(group)
    assert any("sAMAccountName" in one for one in of_group)
    (links,) = [one for one in of_group if "member;range=1-1" in one]
    assert set(links) == {"objectGUID", "member;range=1-1"}
    assert links["member;range=1-1"][0].startswith(f"<GUID={ann}>;<SID=".encode())


def test_later_only_what_changed_comes(service: Client, domain: WindowsDomain, start) -> None:
    ann = domain.create_user("Ann", mail="ann@example.test")
    cookie = service.dirsync_all(domain.base_dn, start).cookie
    domain.modify(ann, mail="lee@example.test")
    (entry,) = changes(service, domain, cookie, ann)
    assert entry == {
        "objectGUID": [uuid.UUID(ann).bytes_le],
        "instanceType": [b"4"],
        "mail": [b"lee@example.test"],
    }


def test_a_cleared_attribute_comes_empty(service: Client, domain: WindowsDomain) -> None:
    ann = domain.create_user("Ann", mail="ann@example.test")
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.modify(ann, mail=None)
    assert changes(service, domain, cookie, ann)[0]["mail"] == []
    assert changes(service, domain, cookie, ann, query="(mail=*)") == []  # the filter looks at what is now


def test_the_attribute_list_is_a_filter(service: Client, domain: WindowsDomain) -> None:
    ann = domain.create_user("Ann")
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.modify(ann, sn="Lee")
    assert changes(service, domain, cookie, ann, attributes=["description"]) == []
    both = changes(service, domain, cookie, ann, attributes=["*", "sn"])
    assert set(both[0]) == {"objectGUID", "instanceType", "sn"}


def test_some_attributes_never_come(service: Client, domain: WindowsDomain, start) -> None:
    ann = domain.create_user("Ann")
    domain.create_group("G", members=[ann])
    wanted = [
        "cn",
        "name",
        "memberOf",
        "uSNChanged",
        "whenChanged",
        "badPwdCount",
        "tokenGroups",
        "distinguishedName",
    ]
    (entry,) = changes(service, domain, start, ann, attributes=wanted)
    assert set(entry) == {"objectGUID", "instanceType", "name", "parentGUID"}


def test_noise(service: Client, domain: WindowsDomain) -> None:
    ann = domain.create_user("Ann")
    cookie, usn = service.dirsync_all(domain.base_dn).cookie, domain.dc.replica.usn
    domain.bad_password(ann)
    assert (domain.dc.replica.usn, changes(service, domain, cookie, ann)) == (usn, [])
    domain.sign_on(ann, 133_000_000_000_000_000)
    assert (domain.dc.replica.usn, changes(service, domain, cookie, ann)) == (usn + 1, [])


def test_a_move_brings_name_and_parent_and_nothing_of_the_children(
    service: Client, domain: WindowsDomain
) -> None:
    sales, old = domain.create_ou("Sales"), domain.create_ou("Old")
    ann = domain.create_user("Ann", ou="Old")
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.move(old, "Sales")
    cycle = service.dirsync_all(domain.base_dn, cookie)
    assert cycle.guids == {old}
    assert cycle.of(old)[0]["parentGUID"] == [uuid.UUID(sales).bytes_le]
    assert cycle.entries[0]["dn"].endswith(f"OU=Old,OU=Sales,{domain.base_dn}")
    assert domain.dn(ann) == f"CN=Ann,OU=Old,OU=Sales,{domain.base_dn}"


def test_links_and_attributes_of_one_object_are_entries_apart(service: Client, domain: WindowsDomain) -> None:
    ann, bob = domain.create_user("Ann"), domain.create_user("Bob")
    group = domain.create_group("G", members=[ann])
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.add_members(group, bob)
    domain.remove_members(group, ann)
    domain.modify(group, description="x")
    entries = changes(service, domain, cookie, group, attributes=["member", "description"])
    assert any("description" in one for one in entries)
    (links,) = [one for one in entries if "description" not in one]
    assert set(links) == {"objectGUID", "member;range=1-1", "member;range=0-0"}
    assert links["member;range=0-0"][0].startswith(f"<GUID={ann}>".encode())


def test_without_incremental_values_all_of_them_come_up_to_a_limit(
    service: Client, domain: WindowsDomain
) -> None:
    users = [domain.create_user(f"User {number}") for number in range(5)]
    group = domain.create_group("G", members=users[:2])
    cookie = service.dirsync_all(domain.base_dn, flags=NO_INCREMENTAL).cookie
    domain.add_members(group, users[2])
    (entry,) = changes(service, domain, cookie, group, flags=NO_INCREMENTAL)
    assert len(entry["member"]) == 3
    domain.dc.limits.max_val_range = 2
    (entry,) = changes(service, domain, cookie, group, flags=NO_INCREMENTAL)
    assert len(entry["member"]) == 2
    domain.remove_members(group, *users[:3])
    (entry,) = changes(service, domain, cookie, group, flags=NO_INCREMENTAL)
    assert entry["member"] == []


def test_several_changes_collapse_into_the_last_state(service: Client, domain: WindowsDomain) -> None:
    ann = domain.create_user("Ann")
    group = domain.create_group("G")
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.add_members(group, ann)
    domain.remove_members(group, ann)
    domain.add_members(group, ann)
    (entry,) = changes(service, domain, cookie, group)
    assert set(entry) == {"objectGUID", "member;range=1-1"}


def test_a_change_of_the_primary_group_is_two_links(service: Client, domain: WindowsDomain) -> None:
    ann = domain.create_user("Ann")
    group = domain.create_group("G", members=[ann])
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.set_primary_group(ann, group)
    users = domain.guid("Domain Users")
    assert "member;range=0-0" in changes(service, domain, cookie, group)[0]
    assert "member;range=1-1" in changes(service, domain, cookie, users)[0]
    assert domain.members(group) == []


# ------------------------------------------------------------------------------------------------------- what is seen


def test_a_confidential_attribute_comes_empty(service: Client, domain: WindowsDomain) -> None:
    ann = domain.create_user("Ann", mail="ann@example.test")
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.confidential.add("mail")
    domain.modify(ann, mail="lee@example.test", sn="Lee")
    (entry,) = changes(service, domain, cookie, ann)
    assert (entry["mail"], entry["sn"]) == ([], [b"Lee"])
    assert "mail" not in service.read(f"<GUID={ann}>", "mail").raw()


def test_what_moves_out_of_sight_is_not_reported(
    service: Client, connect: Connect, domain: WindowsDomain
) -> None:
    domain.create_ou("Secret")
    domain.hide("Secret", "svc-dropbox")
    ann = domain.create_user("Ann")
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.move(ann, "Secret")
    assert changes(service, domain, cookie, ann) == []
    assert service.read(f"<GUID={ann}>", "mail").code == 32
    administrator = connect("Administrator", ADMINISTRATOR_PASSWORD)
    assert changes(administrator, domain, cookie, ann, flags=SYSTEM_VIEW)


def test_objects_of_other_domains_are_links_only(service: Client, domain: WindowsDomain, start) -> None:
    far = domain.create_phantom("CN=Far,CN=Users,DC=child,DC=example,DC=test")
    near = domain.create_foreign("S-1-5-21-1-2-3-1104")
    group = domain.create_group("G", members=[far, near])
    cycle = service.dirsync_all(domain.base_dn, start)
    assert far not in cycle.guids
    values = b" ".join(cycle.of(group)[-1]["member;range=1-1"])
    assert b"CN=Far,CN=Users,DC=child" in values
    assert b"CN=S-1-5-21-1-2-3-1104,CN=ForeignSecurityPrincipals" in values
    assert service.read(f"<GUID={far}>").code == 32
    assert service.read("CN=Far,CN=Users,DC=child,DC=example,DC=test").code == 10


# --------------------------------------------------------------------------------------------------- pages and cookies


def test_pages_of_at_least_a_hundred(service: Client, domain: WindowsDomain, start) -> None:
    for number in range(250):
        domain.create_user(f"User {number}")
    cycle = service.dirsync_all(domain.base_dn, start, size_limit=5)
    assert [len(page.entries) for page in cycle.pages] == [100, 100, 50]
    assert service.dirsync_all(domain.base_dn, cycle.cookie).entries == []


def test_a_group_over_several_pages(service: Client, domain: WindowsDomain, start) -> None:
    users = [domain.create_user(f"User {number}") for number in range(150)]
    group = domain.create_group("G", members=users)
    cycle = service.dirsync_all(domain.base_dn, start, size_limit=100)
    entries = [one["member;range=1-1"] for one in cycle.of(group) if "member;range=1-1" in one]
    assert len(entries) >= 2
    assert len(set(itertools.chain.from_iterable(entries))) == 150


def test_a_page_may_be_empty_with_more_to_follow(service: Client, domain: WindowsDomain, start) -> None:
    domain.dc.limits.dirsync_examined = 3
    for number in range(5):
        domain.create_contact(f"Contact {number}")
    ann = domain.create_user("Ann")
    cycle = service.dirsync_all(domain.base_dn, start)
    assert not cycle.pages[0].entries
    assert cycle.pages[0].controls[DIRSYNC]["value"]["more_results"]
    assert cycle.of(ann)


def test_ancestors_come_first_and_again_in_their_turn(service: Client, domain: WindowsDomain) -> None:
    ou = domain.create_ou("Sales")
    ann = domain.create_user("Ann", ou="Sales")
    domain.rename(ou, "Market")  # now its USN is the higher one
    order = [guid_of(entry) for entry in service.dirsync_all(domain.base_dn).entries]
    assert order.index(ou) < order.index(ann)
    assert order.count(ou) == 2
    unordered = service.dirsync_all(domain.base_dn, flags=0x80000001)
    order = [guid_of(entry) for entry in unordered.entries]
    assert order.index(ou) > order.index(ann)


def test_an_object_that_changes_between_pages_comes_twice(
    service: Client, domain: WindowsDomain, start
) -> None:
    users = [domain.create_user(f"User {number}") for number in range(150)]
    first = service.dirsync(domain.base_dn, start, size_limit=100)
    domain.modify(users[0], mail="new@example.test")
    cookie = first.controls[DIRSYNC]["value"]["cookie"]
    second = service.dirsync_all(domain.base_dn, cookie)
    assert users[0] in {guid_of(entry) for entry in first.entries}
    assert second.of(users[0])[0]["mail"] == [b"new@example.test"]


def test_a_cookie_may_be_used_again(service: Client, domain: WindowsDomain, start) -> None:
    ann = domain.create_user("Ann")
    assert [changes(service, domain, start, ann) for _ in range(2)] == [
        changes(service, domain, start, ann)
    ] * 2


def test_a_fresh_cookie_without_data(service: Client, domain: WindowsDomain) -> None:
    cycle = service.dirsync_all(domain.base_dn, query="(objectGUID=" + "\\00" * 16 + ")")
    assert cycle.entries == []
    ann = domain.create_user("Ann")
    assert service.dirsync_all(domain.base_dn, cycle.cookie).guids == {ann}


@pytest.mark.parametrize("spoil", [b"x", b"MSDS" + b"\0" * 104])
def test_a_cookie_that_is_none_is_2(service: Client, domain: WindowsDomain, spoil) -> None:
    refused = service.dirsync(domain.base_dn, spoil)
    assert (refused.code, refused.message[:8]) == (2, "0000203D")


def test_the_cookie_of_another_domain_is_2(service: Client, domain: WindowsDomain, authority) -> None:
    from sandbox.windows_ldap import WindowsServer

    other = WindowsDomain()
    with WindowsServer(other, authority) as elsewhere:
        client = Client(elsewhere, "svc-dropbox@example.test", "Sandbox-Service-1")
        client.bind()
        cookie = client.dirsync_all(other.base_dn).cookie
        client.close()
    assert service.dirsync(domain.base_dn, cookie).code == 2


def test_the_cookie_is_laid_out_as_windows_does(start, domain: WindowsDomain) -> None:
    assert (start[:4], len(start)) == (b"MSDS", 108)
    assert domain.dc.replica.invocation_id.bytes_le in start


def test_show_deleted_is_the_clients_business(service: Client, domain: WindowsDomain) -> None:
    ann = domain.create_user("Ann")
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.delete(ann)
    control = (DIRSYNC, True, dirsync_value(FLAGS, cookie))
    bare = service.search(domain.base_dn, attributes=["isDeleted", "name"], controls=[control])
    assert bare.entries == []
    shown = service.search(domain.base_dn, attributes=["isDeleted", "name"], controls=[control, SHOW_DELETED])
    assert len(shown.entries) == 1
    assert ldap3.__version__ == "2.9.1"
