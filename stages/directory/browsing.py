"""Looking for a group by a part of its name: for people who set the connector up."""

from __future__ import annotations

from ldap3.utils.conv import escape_filter_chars

from pipeline.model import Entry
from stages.directory.controls import DOMAIN_SCOPE, paged
from stages.directory.entries import entry_of, guid_of
from stages.directory.reader import entry_attributes
from stages.directory.wire import Scope, Search, Searcher

MOST_GROUPS = 30


async def find_groups_like(
    searcher: Searcher, text: str, email_attribute: str
) -> tuple[tuple[Entry, ...], bool]:
    """Groups whose name contains the text ("" for any), by name, 30 at most; and whether there are more.

    DirectoryError.
    """
    wanted = escape_filter_chars(text.strip())
    pattern = f"*{wanted}*" if wanted else "*"
    answer = await searcher.search(
        Search(
            purpose="look for groups",
            base=searcher.controller.base_dn,
            scope=Scope.SUBTREE,
            filter=f"(&(objectClass=group)(|(cn={pattern})(sAMAccountName={pattern})))",
            attributes=entry_attributes(email_attribute),
            controls=(DOMAIN_SCOPE, paged(MOST_GROUPS, b"")),
        )
    )
    found = [entry_of(raw, email_attribute) for raw in answer.entries if guid_of(raw)]
    return tuple(sorted(found, key=lambda group: group.dn.lower())), bool(answer.page_cookie)
