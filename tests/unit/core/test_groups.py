"""behaviour.md §6, rule by rule, and the help article's sentences about groups, on the pure decision."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.core.groups import (
    NAME_CLASH,
    NO_EXTERNAL_ID,
    OUTSIDE_SCOPE,
    DirectoryGroup,
    GroupDecision,
    GroupPolicy,
    Known,
    Mode,
    Person,
    decide_groups,
    holds_sid,
)
from pipeline.core.nesting import Nesting
from pipeline.model import ActionKind, Kind, Status, TeamGroup
from pipeline.records import Edge

SAME = GroupPolicy(mode=Mode.SAME)
SEPARATE = GroupPolicy(mode=Mode.SEPARATE)
SID = "S-1-5-21-1-2-3-1104"


def person(name: str, status: Status | None = Status.ACTIVE, **facts: Any) -> Person:
    """`ann` is linked to m:ann; without a status, to nobody."""
    return Person(
        guid=name,
        label=f"{name}@example.test",
        member_id=f"m:{name}" if status is not None else "",
        status=status,
        **facts,
    )


def group(name: str, *users: str, guid: str = "", **facts: Any) -> DirectoryGroup:
    guid = guid or name.lower()
    return DirectoryGroup(
        guid=guid, name=name, external_id=f"ad-guid:{guid}", users=frozenset(users), **facts
    )


def team(name: str, *, guid: str = "", group_id: str = "", **facts: Any) -> TeamGroup:
    """A group in Dropbox; with `guid`, it carries our mark for that directory group."""
    facts.setdefault("external_id", f"ad-guid:{guid}" if guid else "")
    return TeamGroup(group_id=group_id or f"g:{name}", name=name, **facts)


def decide(
    groups: Iterable[DirectoryGroup],
    persons: Iterable[Person] = (),
    *,
    teams: Iterable[TeamGroup] = (),
    links: dict[str, str] | None = None,
    members: dict[str, set[str]] | None = None,
    gone: Iterable[str] = (),
    policy: GroupPolicy = SAME,
) -> dict[str, GroupDecision]:
    people = {one.guid: one for one in persons}
    known = Known(
        team_groups={one.group_id: one for one in teams},
        links=links or {},
        members={
            group_id: frozenset(f"m:{who}" for who in names) for group_id, names in (members or {}).items()
        },
        holders={one.member_id: one.guid for one in people.values() if one.member_id},
    )
    return {one.guid: one for one in decide_groups(list(groups), list(gone), people, known, policy)}


def asked(decision: GroupDecision) -> list[tuple[str, str]]:
    return [
        (one.kind.value, one.guid if one.member_id else one.name or one.external_id)
        for one in decision.wanted
    ]


def linked(name: str, *present: str) -> dict[str, Any]:
    """A synced group that already is in Dropbox under its name, with these members."""
    guid = name.lower()
    return {
        "teams": [team(name, guid=guid)],
        "links": {guid: f"g:{name}"},
        "members": {f"g:{name}": set(present)},
    }


# --- rule 1: which groups, and flat -------------------------------------------------------------------------


def nesting(groups_root: str = "") -> Nesting:
    """Dropbox > Sales > Europe, and Groups > Apollo beside it; Europe holds Sales again."""
    made = Nesting("dropbox", "", groups_root)
    groups = {name: name.title() for name in ("dropbox", "sales", "europe", "groups", "apollo")}
    made.load(
        [*((guid, Kind.GROUP, True) for guid in groups), *((one, Kind.USER, True) for one in "abcde")],
        [
            Edge("dropbox", "sales"),
            Edge("sales", "europe"),
            Edge("europe", "sales"),
            Edge("sales", "a"),
            Edge("europe", "b"),
            Edge("europe", "c", primary=True),
            Edge("groups", "apollo"),
            Edge("groups", "d"),
            Edge("apollo", "a"),
            Edge("apollo", "e"),
        ],
        groups,
    )
    return made


def test_rule_1_same_takes_the_groups_nested_in_the_user_sync_group_without_itself():
    assert nesting().synced_groups(separate=False) == {"sales", "europe"}


def test_rule_1_separate_takes_the_groups_in_the_other_sync_group_without_itself():
    assert nesting("groups").synced_groups(separate=True) == {"apollo"}


def test_rule_1_nested_groups_are_flattened_into_each_whatever_circles_there_are():
    assert nesting().users_of("sales") == ({"a", "b", "c"}, False)
    assert nesting().users_of("europe") == ({"a", "b", "c"}, False)


def test_rule_1_a_dead_group_and_a_dead_user_count_no_more():
    made = nesting()
    made.set_node("europe", Kind.GROUP, live=False)
    made.set_node("a", Kind.USER, live=False)
    assert made.users_of("sales") == (frozenset(), False)


def test_rule_1_what_can_not_be_read_is_told():
    made = nesting()
    made.set_node("x", Kind.OTHER, live=True)
    made.add(Edge("europe", "x"))
    assert made.users_of("sales")[1]
    assert not made.is_complete(separate=False)


def test_a_changed_edge_touches_every_group_above_it():
    made = nesting("groups")
    made.add(Edge("europe", "d"))
    assert made.take_touched() == {"europe", "sales", "dropbox"}
    assert made.take_touched() == frozenset()


def test_rule_1_a_group_is_created_with_our_mark_and_filled():
    decision = decide([group("Sales", "ann")], [person("ann")])["sales"]
    assert asked(decision) == [("group_create", "Sales"), ("group_add", "ann")]
    assert decision.wanted[0].external_id == "ad-guid:sales"


def test_an_empty_group_is_created_empty():
    assert asked(decide([group("Sales")])["sales"]) == [("group_create", "Sales")]


# --- rule 2: separate ---------------------------------------------------------------------------------------


def test_article_groups_placed_in_the_user_sync_group_are_ignored_unless_also_in_the_group_sync_group():
    assert "sales" not in nesting("groups").synced_groups(separate=True)
    made = nesting("groups")
    made.add(Edge("groups", "sales"))
    assert "sales" in made.synced_groups(separate=True)


def test_article_users_placed_in_the_group_sync_group_are_ignored_unless_also_in_the_user_sync_group():
    assert "d" not in nesting("groups").users_of("apollo")[0]
    assert not nesting("groups").scope.is_listed("d")


def test_rule_2_who_is_not_in_user_scope_is_left_out_and_reported():
    people = [person("ann"), person("kate", None, is_listed=False)]
    decision = decide([group("Apollo", "ann", "kate")], people, policy=SEPARATE)["apollo"]
    assert asked(decision) == [("group_create", "Apollo"), ("group_add", "ann")]
    assert decision.left_out == (("kate", "not in user scope"),)
    assert not decision.failure


def test_rule_2_in_separate_nobody_fails_a_group():
    people = [person("ann"), person("eve", excluded="pattern"), person("nik", None, trouble="no e-mail")]
    decision = decide([group("Apollo", "ann", "eve", "nik")], people, policy=SEPARATE)["apollo"]
    assert asked(decision) == [("group_create", "Apollo"), ("group_add", "ann")]
    assert {guid for guid, _ in decision.left_out} == {"eve", "nik"}


# --- rule 3: same fails -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outsider", "why"),
    [
        (person("eve", excluded="e-mail matches eve*"), "excluded"),
        (person("eve", None, trouble="no e-mail"), "no e-mail"),
        (person("eve", None, trouble="a member already: unmanaged"), "unmanaged"),
    ],
    ids=["excluded", "skipped", "unmanaged"],
)
def test_article_for_groups_with_users_that_are_not_in_the_sync_group_the_group_fails(outsider, why):
    found = decide([group("Sales", "ann", "eve"), group("Other", "ann")], [person("ann"), outsider])
    assert found["sales"].fault == OUTSIDE_SCOPE
    assert "eve@example.test" in found["sales"].failure
    assert why in found["sales"].failure
    assert asked(found["sales"]) == []
    assert asked(found["other"]) == [("group_create", "Other"), ("group_add", "ann")]


@pytest.mark.parametrize(
    "harmless",
    [
        person("dis", None, is_disabled=True, trouble="disabled: not invited"),
        person("new", None),
        person("sus", Status.SUSPENDED, is_disabled=True),
        person("gone", Status.REMOVED),
    ],
    ids=["disabled", "not yet invited", "suspended", "removed account"],
)
def test_rule_3_disabled_and_not_yet_invited_persons_do_not_fail_it(harmless):
    decision = decide([group("Sales", "ann", harmless.guid)], [person("ann"), harmless])["sales"]
    assert not decision.failure
    assert asked(decision) == [("group_create", "Sales"), ("group_add", "ann")]


def test_rule_3_a_failing_group_still_loses_who_left_it_or_the_scope_and_gains_nobody():
    people = [
        person("ann"),
        person("bob"),
        person("cid", is_listed=False),
        person("eve", None, trouble="no e-mail"),
    ]
    found = decide([group("Sales", "ann", "eve")], people, **linked("Sales", "bob", "cid"))
    assert found["sales"].failure
    assert asked(found["sales"]) == [("group_remove", "bob"), ("group_remove", "cid")]


def test_rule_3_at_most_five_are_named():
    people = [person(f"p{n}", None, trouble="no e-mail") for n in range(9)]
    decision = decide([group("Sales", *(one.guid for one in people))], people)["sales"]
    assert decision.failure.count("no e-mail") == 5
    assert "and 4 more" in decision.failure


# --- rule 4: names ------------------------------------------------------------------------------------------


def test_article_multiple_groups_with_the_same_name_fail_and_the_others_go_on():
    found = decide(
        [group("Sales", guid="s1"), group("SALES ", guid="s2"), group("Other")], **linked("Nothing")
    )
    assert found["s1"].fault == found["s2"].fault == NAME_CLASH
    assert asked(found["s1"]) == asked(found["s2"]) == []
    assert asked(found["other"]) == [("group_create", "Other")]


def test_rule_4_neither_of_two_with_one_name_is_changed_not_even_its_members():
    people = [person("ann"), person("bob")]
    found = decide(
        [group("Sales", "ann", guid="sales"), group("Sales", guid="s2")], people, **linked("Sales", "bob")
    )
    assert asked(found["sales"]) == []


@pytest.mark.parametrize(
    "present",
    [
        team("sales"),
        team("Sales", is_company_managed=False),
        team("SALES", is_company_managed=False, is_system_managed=True),
    ],
    ids=["company", "user-managed", "system"],
)
def test_rule_4_a_dropbox_group_of_that_name_fails_it(present):
    found = decide([group("Sales", "ann"), group("Other")], [person("ann")], teams=[present])
    assert found["sales"].fault == NAME_CLASH
    assert present.name in found["sales"].failure
    assert asked(found["sales"]) == []
    assert asked(found["other"]) == [("group_create", "Other")]


ADOPT = replace(SAME, adopt_existing=True)


def test_rule_4_adopt_existing_links_a_company_managed_group_and_sets_our_mark():
    decision = decide([group("Sales", "ann")], [person("ann")], teams=[team("sales")], policy=ADOPT)["sales"]
    assert decision.adopt is not None
    assert decision.adopt[1] == "name"
    assert [one.kind for one in decision.wanted] == [ActionKind.GROUP_RENAME, ActionKind.GROUP_ADD]
    assert (decision.wanted[0].name, decision.wanted[0].external_id) == ("Sales", "ad-guid:sales")


@pytest.mark.parametrize(
    "present",
    [
        team("Sales", is_company_managed=False),
        team("Sales", guid="another"),
        team("Sales", external_id="okta:17"),
        team("Sales", is_company_managed=False, is_system_managed=True),
    ],
    ids=["user-managed", "ours for another group", "another system's", "system"],
)
def test_rule_4_adopt_existing_takes_nothing_else(present):
    found = decide([group("Sales")], teams=[present], policy=ADOPT)
    assert found["sales"].adopt is None
    assert found["sales"].fault == NAME_CLASH


def test_rule_4_another_systems_mark_is_overwritten_only_when_asked():
    policy = replace(ADOPT, overwrite_foreign_ids=True)
    found = decide([group("Sales")], teams=[team("Sales", external_id="okta:17")], policy=policy)
    assert found["sales"].adopt is not None


def test_rule_4_a_group_that_holds_the_sid_counts_as_ours():
    old = team("Old sales", external_id=f"ADSYNC {SID}")
    decision = decide([group("Sales", sid=SID)], teams=[old])["sales"]
    assert decision.adopt == (old, "legacy")
    assert asked(decision) == [("group_rename", "Sales")]


@pytest.mark.parametrize(
    ("external_id", "holds"),
    [
        (SID, True),
        (f"ADSYNC {SID}", True),
        (f"{SID}5", False),
        (f"X{SID}", False),
        (f"{SID}-9", False),
        ("", False),
    ],
)
def test_a_sid_is_held_whole_or_not_at_all(external_id, holds):
    assert holds_sid(external_id, SID) is holds
    assert not holds_sid(external_id, "")


# --- rule 5: links, renames, who is added -------------------------------------------------------------------


def test_rule_5_our_mark_links_again_when_the_journal_was_lost():
    present = team("Sales", guid="sales")
    decision = decide([group("Sales")], teams=[present])["sales"]
    assert decision.adopt == (present, "external_id")
    assert asked(decision) == []


def test_rule_5_renames_follow():
    decision = decide([group("Sales EMEA", guid="sales")], **linked("Sales"))["sales"]
    assert asked(decision) == [("group_rename", "Sales EMEA")]


def test_rule_5_a_change_of_case_is_a_rename_and_no_clash():
    assert asked(decide([group("SALES", guid="sales")], **linked("Sales"))["sales"]) == [
        ("group_rename", "SALES")
    ]


def test_rule_5_a_synced_group_deleted_in_dropbox_is_created_again():
    decision = decide([group("Sales", "ann")], [person("ann")], links={"sales": "g:gone"})["sales"]
    assert asked(decision) == [("group_create", "Sales"), ("group_add", "ann")]


def test_rule_5_system_managed_groups_are_never_touched():
    everyone = team("Everyone", guid="sales", is_company_managed=False, is_system_managed=True)
    found = decide([group("Sales")], teams=[everyone], links={"sales": everyone.group_id})
    assert asked(found["sales"]) == [("group_create", "Sales")]


def test_rule_5_only_managed_members_are_added_or_removed():
    people = [person("ann")]
    found = decide([group("Sales", "ann")], people, **linked("Sales", "stranger"))
    assert asked(found["sales"]) == [("group_add", "ann")]


@pytest.mark.parametrize(
    ("who", "is_added"),
    [
        (person("x", Status.ACTIVE), True),
        (person("x", Status.INVITED), True),
        (person("x", Status.SUSPENDED), False),
        (person("x", Status.REMOVED), False),
        (person("x", Status.UNKNOWN), False),
        (person("x", None), False),
    ],
    ids=["active", "invited", "suspended", "removed", "unknown", "no account yet"],
)
def test_rule_5_who_can_be_added(who, is_added):
    found = decide([group("Sales", "x")], [who], **linked("Sales"))
    assert asked(found["sales"]) == ([("group_add", "x")] if is_added else [])


def test_rule_5_suspended_members_stay_while_the_directory_lists_them():
    people = [person("x", Status.SUSPENDED, is_disabled=True)]
    assert asked(decide([group("Sales", "x")], people, **linked("Sales", "x"))["sales"]) == []
    assert asked(decide([group("Sales")], people, **linked("Sales", "x"))["sales"]) == [("group_remove", "x")]


@pytest.mark.parametrize(
    "who",
    [
        person("x", is_listed=False, is_leaving=True),
        person("x", is_listed=False, is_seen=False),
        person("x", excluded="pattern"),
        person("x", Status.REMOVED, is_listed=False),
    ],
    ids=["leaving is not confirmed", "can't be read", "excluded", "the account is gone: not twice"],
)
def test_who_is_not_taken_out(who):
    assert asked(decide([group("Sales")], [who], policy=SEPARATE, **linked("Sales", "x"))["sales"]) == []


def test_absence_proves_nothing_below_what_can_not_be_read():
    found = decide([group("Sales", is_opaque=True)], [person("x")], **linked("Sales", "x"))
    assert asked(found["sales"]) == []


def test_a_group_without_an_external_id_fails_by_name():
    found = decide([replace(group("Sales"), external_id="")])
    assert found["sales"].fault == NO_EXTERNAL_ID


# --- names that one frees and another takes -----------------------------------------------------------------


def waves(found: dict[str, GroupDecision]) -> dict[str, int]:
    return {
        guid: one.wave for guid, decision in found.items() for one in decision.wanted if not one.member_id
    }


def test_a_name_freed_by_one_is_taken_by_another_in_one_pass():
    found = decide(
        [group("Marketing", guid="old"), group("Sales", guid="new")],
        teams=[team("Sales", guid="old")],
        links={"old": "g:Sales"},
    )
    assert asked(found["old"]) == [("group_rename", "Marketing")]
    assert asked(found["new"]) == [("group_create", "Sales")]
    assert waves(found) == {"old": 0, "new": 1}


def test_a_chain_of_names_is_ordered():
    teams = [team(name, guid=name.lower()) for name in "ABC"]
    links = {name.lower(): f"g:{name}" for name in "ABC"}
    found = decide(
        [group("B", guid="a"), group("C", guid="b"), group("D", guid="c")], teams=teams, links=links
    )
    assert waves(found) == {"a": 2, "b": 1, "c": 0}


def test_a_swap_of_names_fails_and_says_so():
    teams = [team(name, guid=name.lower()) for name in "AB"]
    found = decide(
        [group("B", guid="a"), group("A", guid="b"), group("C")], teams=teams, links={"a": "g:A", "b": "g:B"}
    )
    assert found["a"].fault == found["b"].fault == NAME_CLASH
    assert asked(found["c"]) == [("group_create", "C")]


def test_a_name_held_by_a_group_that_fails_is_not_free():
    people = [person("eve", None, trouble="no e-mail")]
    found = decide(
        [group("Marketing", "eve", guid="old"), group("Sales", guid="new")],
        people,
        teams=[team("Sales", guid="old")],
        links={"old": "g:Sales"},
    )
    assert found["old"].fault == OUTSIDE_SCOPE
    assert found["new"].fault == NAME_CLASH


# --- rule 6: emptied, and leaving ---------------------------------------------------------------------------


def test_rule_6_an_emptied_group_empties_its_dropbox_group():
    people = [person("ann"), person("bob")]
    found = decide([group("Sales")], people, **linked("Sales", "ann", "bob"))
    assert asked(found["sales"]) == [("group_remove", "ann"), ("group_remove", "bob")]


def test_rule_6_on_leave_keep_unlinks_and_changes_nothing():
    decision = decide([], gone=["sales"], **linked("Sales", "ann"))["sales"]
    assert decision.unlink
    assert not decision.wanted
    assert decision.name == "Sales"


def test_article_deleting_in_both_on_leave_delete_deletes_the_dropbox_group():
    policy = replace(SAME, delete_on_leave=True)
    decision = decide([], gone=["sales"], policy=policy, **linked("Sales", "ann"))["sales"]
    assert [one.kind for one in decision.wanted] == [ActionKind.GROUP_DELETE]
    assert not decision.unlink


def test_rule_6_a_group_that_is_gone_from_dropbox_too_is_only_unlinked():
    policy = replace(SAME, delete_on_leave=True)
    assert decide([], gone=["sales"], links={"sales": "g:gone"}, policy=policy)["sales"].unlink


# --- only what was touched ----------------------------------------------------------------------------------


def test_untouched_groups_keep_their_failure_and_ask_for_no_members():
    people = {"ann": person("ann")}
    known = Known(team_groups={"g:Sales": team("Sales", guid="sales")}, links={"sales": "g:Sales"})
    found = decide_groups(
        [group("Sales"), group("Other", "ann")],
        [],
        people,
        known,
        SAME,
        touched=frozenset({"other"}),
        standing={"sales": "users who are not synced: eve"},
    )
    by_guid = {one.guid: one for one in found}
    assert by_guid["sales"].failure
    assert not by_guid["sales"].has_members
    assert asked(by_guid["other"]) == [("group_create", "Other"), ("group_add", "ann")]


def test_a_second_look_at_what_was_done_asks_for_nothing():
    assert asked(decide([group("Sales", "ann")], [person("ann")], **linked("Sales", "ann"))["sales"]) == []
