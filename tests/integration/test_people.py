"""What an admin does about people by hand: namesakes, refused addresses, saved plans, single persons, undoing. (behaviour.md §2 to §5)"""

ADA = "ada.lovelace@example.test"
ALAN = "alan.turing@example.test"
COCO = "coco.chanel@example.test"
GRACE = "grace.hopper@example.test"
HEDY = "hedy.lamarr@example.test"


def _recreate_ada(world):
    """Deleted and made anew, as another object with the same e-mail."""
    world.admin.delete("Ada Lovelace")
    world.admin.create_user("Ada King", given_name="Ada", surname="King", mail=ADA, ou="Research")
    world.admin.add_members("Dropbox", "Ada King")
    return world.admin.guid("Ada King")


def test_an_account_passes_to_a_namesake_by_approve_alone_and_a_saved_plan_does_what_still_holds(settled):
    account = settled.members()[ADA].id
    new = _recreate_ada(settled)
    settled.ok("run")
    assert settled.writes() == [], "neither is the account ended, nor is anybody invited"
    (held,) = settled.status()["brake"]["sets"]
    assert held["kind"] == "namesake"
    (mail,) = settled.mailbox.wait_for_blocking(1)
    assert held["hash"] in mail.text
    assert ADA in settled.ok("approve", held["hash"]).out

    settled.admin.disable("Coco Chanel")
    settled.admin.modify("Grace Hopper", sn="Hopping")
    settled.admin.modify("Alan Turing", sn="Turner")
    settled.ok("plan", "--format", "json", "--out", "plan.json")
    assert settled.members()[ADA].external_id != f"ad-guid:{new}", "a plan moves nothing"
    settled.admin.enable("Coco Chanel")
    settled.admin.modify("Grace Hopper", sn="Hops", mail="grace.hops@example.test")
    settled.admin.disable("Hedy Lamarr")  # not in the plan: left for the next pass
    done = settled("apply", "plan.json")
    assert done.code == -17
    assert done.err.splitlines()[-1] == "exit code: -17 (2 of 4 rows are stale)"
    rows = {line.split()[2]: line.split()[0] for line in done.out.splitlines()}
    assert rows == {ADA: "applied", COCO: "stale", GRACE: "stale", ALAN: "applied"}
    members = settled.members()
    assert (members[ALAN].surname, members[GRACE].surname) == ("Turner", "Hopper")
    assert settled.statuses(COCO, HEDY) == ["active", "active"]
    member = members[ADA]
    assert (member.id, member.status, member.surname) == (account, "active", "King")
    assert member.external_id == f"ad-guid:{new}"
    said = settled.ok("undo", settled.status()["last_pass"]["id"], "--dry-run").out
    assert "the account passed from" in said.splitlines()[0], "what can't be undone first"

    settled.ok("run", "--only", GRACE)  # also by the e-mail that Dropbox shows
    assert settled.members()["grace.hops@example.test"].surname == "Hops"
    assert settled.statuses(HEDY) == ["active"]
    settled.ok("run", "--full")
    # Nothing more comes of the deletion of her who lost the account.
    assert settled.statuses(ADA, HEDY) == ["active", "suspended"]
    settled.ok("undo", settled.status()["last_pass"]["id"])
    settled.ok("run", "--full")
    assert settled.statuses(ADA, HEDY) == ["active", "active"]


def test_beside_a_running_watch_an_address_is_had_once_it_is_free_and_a_namesake_once_approved(
    settled, tools
):
    settled.configure(dropbox={"drift_poll_seconds": 1})
    settled.console("add", "turner@example.test", given_name="Out", surname="Sider", welcome=False)
    settled.console("accept", "turner@example.test")
    settled.admin.modify("Alan Turing", sn="Turner", mail="turner@example.test")
    watch = settled.watch()
    assert settled.members()[ALAN].surname == "Turner", "the name does not wait for the address"
    assert len(settled.writes()) == 2, "all together, and without what was refused"
    settled.console("set_email", "turner@example.test", "sider@example.test")
    new = _recreate_ada(settled)
    tools.wait_until(lambda: ALAN not in settled.members(), "the address is had, by the event log")
    tools.wait_until(lambda: settled.status()["brake"], "the namesake is held")
    (held,) = settled.status()["brake"]["sets"]
    settled.ok("approve", held["hash"])
    tools.wait_until(lambda: settled.members()[ADA].external_id == f"ad-guid:{new}", "the account has passed")
    assert watch.terminate() == 0
    assert settled.statuses(ADA, "turner@example.test") == ["active", "active"]
