"""Looking for groups by a part of their name: what somebody types stays text, and a long list is cut, not read."""

import pytest

from stages.directory.browsing import MOST_GROUPS, find_groups_like
from stages.directory.controls import PAGED_OID
from stages.directory.wire import Answer, RawEntry, Search

pytestmark = pytest.mark.anyio


class Searcher:
    def __init__(self, answer, controller):
        self.answer = answer
        self.controller = controller
        self.asked: list[Search] = []

    async def search(self, request):
        self.asked.append(request)
        return self.answer


class Controller:
    base_dn = "DC=example,DC=test"


def _group(name):
    return RawEntry(
        f"CN={name},DC=example,DC=test",
        {"objectguid": (name.encode().ljust(16),), "objectclass": (b"group",)},
    )


async def _asked(text, answer=None):
    searcher = Searcher(answer or Answer(()), Controller())
    found = await find_groups_like(searcher, text, "mail")
    (request,) = searcher.asked
    return found, request


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", "*"),
        (" sales ", "*sales*"),
        ("*)(objectClass=*", r"*\2a\29\28objectClass=\2a*"),
        ("a\\b\0c", r"*a\5cb\00c*"),
    ],
)
async def test_what_is_typed_can_not_change_the_filter(text, pattern):
    _, request = await _asked(text)
    assert request.filter == f"(&(objectClass=group)(|(cn={pattern})(sAMAccountName={pattern})))"


async def test_one_page_by_name_and_whether_there_are_more():
    answer = Answer((_group("b"), _group("A"), RawEntry("CN=hidden", {})), page_cookie=b"more")
    (groups, more), request = await _asked("", answer)
    assert [group.dn for group in groups] == ["CN=A,DC=example,DC=test", "CN=b,DC=example,DC=test"]
    assert more
    assert [oid for oid, _, _ in request.controls].count(PAGED_OID) == 1
    assert MOST_GROUPS == 30
    (_, more), _ = await _asked("", Answer((_group("b"),), page_cookie=b""))
    assert not more
