"""Ordinary searches: filters, bases, scopes, limits, pages, ranges, extended names."""

import uuid

import ldap3
import pytest

from sandbox.windows_ldap import WindowsDomain
from tests.sandbox_windows.client import EXTENDED_DN, SHOW_DELETED, Client, Connect

DOMAIN_SCOPE = ("1.2.840.113556.1.4.1339", True, None)
RANGE_NOERR = ("1.2.840.113556.1.4.1948", True, None)
PAGED = "1.2.840.113556.1.4.319"


def escaped(guid: str) -> str:
    return "".join(f"\\{byte:02x}" for byte in uuid.UUID(guid).bytes_le)


@pytest.fixture
def people(domain: WindowsDomain) -> dict[str, str]:
    domain.create_ou("Sales")
    made = {
        "ann": domain.create_user(
            "Ann Lee", account="ann", mail="ann@example.test", surname="Lee", ou="Sales"
        ),
        "bob": domain.create_user("Bob (x) *", account="bob", mail="bob@example.test", enabled=False),
        "cat": domain.create_user("Doe, Cat", account="cat", surname="Doe"),
    }
    made["inner"] = domain.create_group("Inner", members=["ann"])
    made["outer"] = domain.create_group("Outer", members=[made["inner"], "bob"])
    domain.add_members("Inner", "Outer")  # a cycle is legal
    return made


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("(sAMAccountName=ANN)", {"ann"}),
        ("(&(objectCategory=person)(objectClass=user)(sn=*))", {"ann", "cat"}),
        ("(&(objectCategory=CN=Person,CN=Schema,CN=Configuration,DC=example,DC=test)(sn=Lee))", {"ann"}),
        ("(mail=*@example.test)", {"ann", "bob"}),
        ("(mail=a*n@ex*test)", {"ann"}),
        ("(&(mail=*)(!(sn=*)))", {"bob"}),
        ("(|(sn=Doe)(sn=Lee))", {"ann", "cat"}),
        ("(name=Bob \\28x\\29 \\2a)", {"bob"}),
        ("(userAccountControl:1.2.840.113556.1.4.803:=514)", {"bob"}),
        ("(&(sAMAccountType=805306368)(userAccountControl:1.2.840.113556.1.4.804:=2))", {"bob"}),
        ("(memberOf=CN=Inner,CN=Users,DC=example,DC=test)", {"ann", "outer"}),
        (
            "(memberOf:1.2.840.113556.1.4.1941:=CN=Outer,CN=Users,DC=example,DC=test)",
            {"ann", "bob", "inner", "outer"},
        ),
        (
            "(&(groupType:1.2.840.113556.1.4.803:=2147483648)(member=CN=Ann Lee,OU=Sales,DC=example,DC=test))",
            {"inner"},
        ),
        ("(&(objectClass=group)(member=CN=Ann Lee,OU=Sales,DC=example,DC=test))", {"inner"}),
        ("(cn=Doe, Cat)", {"cat"}),
        ("(nonsense=1)", set()),
    ],
)
def test_filters(service: Client, domain: WindowsDomain, people, query, expected) -> None:
    found = service.search(domain.base_dn, query, attributes=["objectGUID"])
    assert found.code == 0
    by_guid = {guid: name for name, guid in people.items()}
    guids = (str(uuid.UUID(bytes_le=entry["raw_attributes"]["objectGUID"][0])) for entry in found.entries)
    assert {by_guid.get(guid, guid) for guid in guids} == expected


def test_usn_filters(service: Client, domain: WindowsDomain, people) -> None:
    low = domain.dc.replica.usn
    domain.modify("ann", mail="new@example.test")
    query = f"(&(objectClass=user)(uSNChanged>={low + 1}))"
    assert service.search(domain.base_dn, query).dns == ["CN=Ann Lee,OU=Sales,DC=example,DC=test"]
    assert not service.search(domain.base_dn, f"(&(sn=Lee)(uSNChanged<={low}))").dns


def test_bases_by_guid_sid_and_well_known_guid(service: Client, domain: WindowsDomain, people) -> None:
    ann = service.read(f"<GUID={people['ann']}>", "objectSid", "cn", "distinguishedName")
    assert ann.dns == ["CN=Ann Lee,OU=Sales,DC=example,DC=test"]
    assert service.read(f"<GUID={uuid.UUID(people['ann']).bytes_le.hex()}>").dns == ann.dns
    sid = ann.raw()["objectSid"][0]
    assert service.read(f"<SID={sid.hex()}>").dns == ann.dns
    deleted = f"<WKGUID=18e2ea80684f11d2b9aa00c04f79f805,{domain.base_dn}>"
    assert service.read(deleted).code == 32
    assert service.read(deleted, controls=[SHOW_DELETED]).dns == [f"CN=Deleted Objects,{domain.base_dn}"]
    assert service.read(f"<GUID={uuid.uuid4()}>").code == 32


def test_scopes(service: Client, domain: WindowsDomain, people) -> None:
    root = domain.base_dn
    assert service.search(f"OU=Sales,{root}", scope=ldap3.BASE).dns == [f"OU=Sales,{root}"]
    assert service.search(f"OU=Sales,{root}", scope=ldap3.LEVEL).dns == [f"CN=Ann Lee,OU=Sales,{root}"]
    assert len(service.search(f"OU=Sales,{root}").dns) == 2


def test_a_base_that_is_not_there_is_32_or_a_referral(service: Client, domain: WindowsDomain) -> None:
    assert service.search(f"OU=Nobody,{domain.base_dn}").code == 32
    assert service.search("DC=other,DC=test").code == 10
    assert service.search("no name at all").code == 34


def test_a_subtree_search_of_the_domain_names_what_lies_beyond(
    service: Client, domain: WindowsDomain
) -> None:
    assert len(service.search(domain.base_dn, "(sn=nobody)").references) == 3
    assert not service.search(domain.base_dn, "(sn=nobody)", controls=[DOMAIN_SCOPE]).references


def test_attributes_are_those_asked_for(service: Client, domain: WindowsDomain, people) -> None:
    dn = domain.dn("ann")
    assert set(service.read(dn, "MAIL", "sn", "description").raw()) == {"MAIL", "sn"}
    assert service.read(dn, "1.1").raw() == {}
    everything = service.read(dn, "*").raw()
    assert everything["memberOf"] == [b"CN=Inner,CN=Users,DC=example,DC=test"]
    assert "parentGUID" not in everything
    assert len(service.read(dn, "tokenGroups").raw()["tokenGroups"]) == 3  # Inner, Outer, Domain Users


def test_extended_names(service: Client, domain: WindowsDomain, people) -> None:
    reply = service.read(domain.dn("Inner"), "member", controls=[EXTENDED_DN])
    assert reply.dns[0].startswith(f"<GUID={people['inner']}>;<SID=S-1-5-21-")
    assert reply.dns[0].endswith(";CN=Inner,CN=Users,DC=example,DC=test")
    assert any(value.startswith(f"<GUID={people['ann']}>;<SID=".encode()) for value in reply.raw()["member"])
    hexadecimal = service.read(domain.dn("Inner"), "cn", controls=[(EXTENDED_DN[0], True, None)])
    assert hexadecimal.dns[0].startswith(f"<GUID={uuid.UUID(people['inner']).bytes_le.hex()}>;<SID=0105")


def test_a_critical_control_nobody_knows_is_12(service: Client, domain: WindowsDomain) -> None:
    unknown = "1.2.840.113556.1.4.2090"
    assert service.search(domain.base_dn, controls=[(unknown, True, None)]).code == 12
    assert service.search(domain.base_dn, "(sn=x)", controls=[(unknown, False, None)]).code == 0


# ------------------------------------------------------------------------------------------------------------ limits


def test_an_unpaged_search_ends_at_max_page_size(service: Client, domain: WindowsDomain) -> None:
    for number in range(1005):
        domain.create_user(f"User {number}")
    reply = service.search(domain.base_dn, "(name=User *)")
    assert (reply.code, len(reply.entries)) == (4, 1000)
    small = service.search(domain.base_dn, "(name=User *)", size_limit=10)
    assert (small.code, len(small.entries)) == (4, 10)


def paged(client: Client, base: str, query: str, size: int, cookie: bytes = b""):
    _, result, response, _ = client.connection.search(
        base, query, attributes=["objectGUID"], paged_size=size, paged_cookie=cookie or None
    )
    entries = [one["dn"] for one in response if one["type"] == "searchResEntry"]
    controls = result.get("controls") or {}
    return result["result"], entries, controls.get(PAGED, {}).get("value", {}).get("cookie", b"")


def test_pages(service: Client, connect: Connect, domain: WindowsDomain) -> None:
    domain.dc.limits.max_page_size = 10
    for number in range(25):
        domain.create_user(f"User {number}")
    sizes, cookie, seen = [], b"", set()
    while True:
        code, dns, cookie = paged(
            service, domain.base_dn, "(name=User *)", 100, cookie
        )  # never more than the limit
        assert code == 0
        sizes.append(len(dns))
        seen.update(dns)
        if not cookie:
            break
    assert (sizes, len(seen)) == ([10, 10, 5], 25)


def test_a_page_cookie_is_good_on_its_connection_only_and_once(
    service: Client, connect: Connect, domain: WindowsDomain
) -> None:
    for number in range(5):
        domain.create_user(f"User {number}")
    _, _, cookie = paged(service, domain.base_dn, "(name=User *)", 2)
    assert paged(connect(), domain.base_dn, "(name=User *)", 2, cookie)[0] == 53
    assert paged(service, domain.base_dn, "(name=User *)", 2, cookie)[0] == 0
    assert paged(service, domain.base_dn, "(name=User *)", 2, cookie)[0] == 53
    _, _, cookie = paged(service, domain.base_dn, "(name=User *)", 2)
    assert paged(service, domain.base_dn, "(name=other)", 2, cookie)[0] == 53


def test_pages_are_transactions_of_their_own(service: Client, domain: WindowsDomain) -> None:
    for number in range(4):
        domain.create_user(f"User {number}")
    _, first, cookie = paged(service, domain.base_dn, "(name=User *)", 2)
    left = {f"User {number}" for number in range(4)} - {dn.partition(",")[0][3:] for dn in first}
    domain.delete(min(left))
    domain.create_user("User 9")
    _, second, _ = paged(service, domain.base_dn, "(name=User *)", 2, cookie)
    assert [dn.partition(",")[0][3:] for dn in second] == sorted(left)[1:]


# ------------------------------------------------------------------------------------------------------------ ranges


@pytest.fixture
def big(domain: WindowsDomain) -> str:
    domain.dc.limits.max_val_range = 4
    users = [domain.create_user(f"User {number}") for number in range(10)]
    return domain.create_group("Big", members=users)


def test_a_long_attribute_comes_empty_beside_its_first_range(
    service: Client, domain: WindowsDomain, big
) -> None:
    reply = service.read(domain.dn(big), "member").raw()
    assert reply["member"] == []
    assert len(reply["member;range=0-3"]) == 4


def test_ranges_to_the_end(service: Client, domain: WindowsDomain, big) -> None:
    dn = domain.dn(big)
    found = [
        *service.read(dn, "member;range=0-*").raw()["member;range=0-3"],
        *service.read(dn, "member;range=4-*").raw()["member;range=4-7"],
        *service.read(dn, "member;range=8-*").raw()["member;range=8-*"],
    ]
    assert len(set(found)) == 10
    assert list(service.read(dn, "member;range=2-2").raw()) == ["member;range=2-2"]
    assert list(service.read(dn, "member;range=8-900").raw()) == ["member;range=8-*"]


def test_a_range_past_the_end_is_an_error_unless_told_otherwise(
    service: Client, domain: WindowsDomain, big
) -> None:
    dn = domain.dn(big)
    assert service.read(dn, "member;range=10-*").code == 1
    forgiven = service.read(dn, "member;range=10-*", controls=[RANGE_NOERR])
    assert (forgiven.code, forgiven.raw()) == (0, {"member;range=10-*": []})


def test_the_order_of_a_range_is_the_connections_own_and_moves_with_a_change(
    service: Client, connect: Connect, domain: WindowsDomain, big
) -> None:
    def order(client: Client) -> list[bytes]:
        return client.read(domain.dn(big), "member;range=0-*").raw()["member;range=0-3"]

    assert order(service) == order(service)
    orders = {tuple(order(service)), *(tuple(order(connect())) for _ in range(3))}
    assert len(orders) > 1
    before = order(service)
    for number in range(5):
        domain.modify(big, description=f"changed {number}")
        if order(service) != before:
            break
    else:
        pytest.fail("the order stayed")


def test_a_short_attribute_comes_whole(service: Client, domain: WindowsDomain) -> None:
    users = [domain.create_user(f"User {number}") for number in range(1501)]
    group = domain.create_group("Exactly", members=users[:1500])
    assert len(service.read(domain.dn(group), "member").raw()["member"]) == 1500
    domain.add_members(group, users[1500])
    assert set(service.read(domain.dn(group), "member").raw()) == {"member", "member;range=0-1499"}
