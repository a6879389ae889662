"""What remove and move_former_member_files refuse (sections 2 and 3.5)."""

import pytest

from sandbox.team import SeedMember, Switches

REMOVALS = [
    ({"keep_account": True, "wipe_data": True}, "cannot_keep_account_and_delete_data"),
    ({"keep_account": True}, "cannot_keep_account_and_delete_data"),  # wipe_data is true by default
    (
        {"keep_account": True, "wipe_data": False, "permanently_delete_files": True},
        "cannot_keep_account_and_permanently_delete",
    ),
    (
        {"keep_account": True, "wipe_data": False, "transfer_dest_id": "admin"},
        "cannot_keep_account_and_transfer",
    ),
    (
        {"permanently_delete_files": True, "transfer_dest_id": "admin"},
        "cannot_permanently_delete_and_transfer",
    ),
    ({"retain_team_shares": True}, "cannot_retain_shares_when_no_account_kept"),
    ({"transfer_dest_id": "admin"}, "unspecified_transfer_admin_id"),
    ({"transfer_dest_id": "active", "transfer_admin_id": "admin"}, "removed_and_transfer_dest_should_differ"),
    (
        {"transfer_dest_id": "admin", "transfer_admin_id": "active"},
        "removed_and_transfer_admin_should_differ",
    ),
    ({"transfer_dest_id": "admin", "transfer_admin_id": "suspended"}, "transfer_admin_is_not_admin"),
    ({"transfer_dest_id": "invited", "transfer_admin_id": "admin"}, "recipient_not_verified"),
    ({"transfer_dest_id": "removed", "transfer_admin_id": "admin"}, "transfer_dest_user_not_in_team"),
    ({"transfer_dest_id": "admin", "transfer_admin_id": "removed"}, "transfer_admin_user_not_in_team"),
    ({"transfer_dest_id": "dbmid:no", "transfer_admin_id": "admin"}, "transfer_dest_user_not_found"),
    ({"transfer_dest_id": "admin", "transfer_admin_id": "dbmid:no"}, "transfer_admin_user_not_found"),
    ({"keep_account": True, "wipe_data": False}, "ok"),
    ({"keep_account": True, "wipe_data": False, "retain_team_shares": True}, "ok"),
    ({"transfer_dest_id": "admin", "transfer_admin_id": "admin"}, "ok"),
]


@pytest.mark.parametrize(("fields", "expected"), REMOVALS)
def test_what_remove_refuses(bench, fields, expected):
    table = bench()
    argument = {"user": table.user("active")}
    for name, value in fields.items():
        if name.startswith("transfer"):
            unknown = {".tag": "team_member_id", "team_member_id": value}
            argument[name] = unknown if value == "dbmid:no" else table.user(value)
        else:
            argument[name] = value
    assert table.tag("team/members/remove", argument) == expected
    assert (table.status("active") == "removed") is (expected == "ok")


def test_the_rarer_refusals_of_remove(bench):
    keep = {"wipe_data": False, "keep_account": True}
    for mark, tag in (
        ("legal_hold", "cannot_keep_account_under_legal_hold"),
        ("must_sign_tos", "cannot_keep_account_required_to_sign_tos"),
    ):
        table = bench()
        table.console.mark("active@example.com", **{mark: True})
        assert table.tag("team/members/remove", {"user": table.user("active"), **keep}) == tag
    table = bench(switches=Switches(external_sharing=False))
    share = {"user": table.user("active"), **keep, "retain_team_shares": True}
    assert table.tag("team/members/remove", share) == "cannot_retain_shares_when_team_external_sharing_off"
    two = (SeedMember("admin@example.com", admin=True), SeedMember("active@example.com"))
    table = bench(removable_email_length=10, members=two)
    tag = table.tag("team/members/remove", {"user": table.user("active")})
    assert tag == "email_address_too_long_to_be_disabled"


def test_kept_accounts_are_disconnected_and_can_be_invited_again(bench):
    table = bench()
    argument = {"user": table.user("active"), "wipe_data": False, "keep_account": True}
    table.ok("team/members/remove", argument)
    members = table.ok("team/members/list_v2", {"include_removed": True})["members"]
    status = next(m["profile"]["status"] for m in members if m["profile"]["email"] == "active@example.com")
    assert status == {".tag": "removed", "is_recoverable": False, "is_disconnected": True}
    change = {"user": table.user("suspended"), "new_email": "active@example.com"}
    assert table.tag("team/members/set_profile_v2", change) == "email_reserved_for_other_user"
    wanted = {"new_members": [{"member_email": "active@example.com"}]}
    assert table.ok("team/members/add_v2", wanted)["complete"][0][".tag"] == "success"
    assert table.effects.migration_mails == {"active@example.com": 1}


def test_moving_files_of_those_who_may_not(bench):
    table = bench()
    parties = {"transfer_dest_id": table.user("admin"), "transfer_admin_id": table.user("admin")}
    route = "team/members/move_former_member_files"
    assert table.tag(route, {"user": table.user("active"), **parties}) == "user_not_removed"
    assert table.tag(route, {"user": table.user("gone"), **parties}) == "user_data_cannot_be_transferred"
    table.team.clock.advance(181 * 86400)
    assert table.tag(route, {"user": table.user("removed"), **parties}) == "user_data_cannot_be_transferred"
