"""Reading and writing members over the wire."""

from __future__ import annotations

import pytest

from pipeline.errors import TeamReadError
from pipeline.model import Profile, Status, Verdict
from stages.dropbox import routes
from stages.dropbox.members import JOB_BOUND_SECONDS
from stages.dropbox.reading import MOST_RESTARTS, SELECTORS_A_CALL

pytestmark = pytest.mark.anyio

TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def _refused(tag: str) -> tuple[int, dict]:
    return 409, {"error_summary": f"{tag}/..", "error": {".tag": tag}}


def _person(name: str, **fields) -> Profile:
    return Profile(
        email=f"{name}@example.test", given_name=name.title(), external_id=f"ad-guid:{name}", **fields
    )


@pytest.fixture
def success(profile_of):
    return lambda email: {".tag": "success", **profile_of(email, "invited")}


def _complete(*items) -> tuple[int, dict]:
    return 200, {".tag": "complete", "complete": list(items)}


# --- inviting ----------------------------------------------------------------------------------------------


async def test_twenty_people_are_invited_in_one_request_strictly_shaped(dropbox, make_team, success):
    dropbox.on(
        routes.ADD,
        lambda body: _complete(*(success(each["member_email"]) for each in body["new_members"])),
    )
    people = [_person(f"p{n}") for n in range(20)]
    outcomes = await make_team().invite(people, send_welcome=True)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 20
    assert [outcome.member.email for outcome in outcomes] == [person.email for person in people]
    [body] = dropbox.sent(routes.ADD)
    assert body["force_async"] is False
    assert body["new_members"][0] == {
        "member_email": "p0@example.test",
        "member_given_name": "P0",
        "member_external_id": "ad-guid:p0",
        "send_welcome_email": True,
    }
    with pytest.raises(ValueError, match="20"):
        await make_team().invite([*people, _person("p21")], send_welcome=True)


async def test_emails_leave_in_lower_case(dropbox, make_team, success):
    dropbox.on(routes.ADD, _complete(success("ann@example.test")))
    [outcome] = await make_team().invite([Profile(email="Ann@Example.TEST")], send_welcome=False)
    assert outcome.verdict is Verdict.DONE
    assert dropbox.sent(routes.ADD)[0]["new_members"][0]["member_email"] == "ann@example.test"


async def test_each_person_of_a_batch_gets_their_own_outcome(dropbox, make_team, success):
    tags = ["team_license_limit", "user_already_on_team", "user_on_another_team", "never_seen_before"]
    people = [_person(f"p{n}") for n in range(5)]
    items = [{".tag": tag, tag: people[n].email} for n, tag in enumerate(tags)] + [success(people[4].email)]
    dropbox.on(routes.ADD, _complete(*items))
    outcomes = await make_team().invite(people, send_welcome=False)
    assert [outcome.verdict for outcome in outcomes] == [
        Verdict.NO_SEAT,
        Verdict.STALE,
        Verdict.FAILED,
        Verdict.FAILED,
        Verdict.DONE,
    ]
    assert outcomes[3].tag == "never_seen_before"


async def test_results_in_another_order_are_matched_by_email(dropbox, make_team, success):
    people = [_person("ann"), _person("bob"), _person("cid")]
    dropbox.on(
        routes.ADD,
        _complete(
            {".tag": "team_license_limit", "team_license_limit": people[2].email},
            success(people[0].email),
            success(people[1].email),
        ),
    )
    outcomes = await make_team().invite(people, send_welcome=False)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE, Verdict.DONE, Verdict.NO_SEAT]
    assert outcomes[0].member.email == people[0].email


async def test_a_person_missing_from_the_reply_is_unknown_not_failed(dropbox, make_team, success):
    people = [_person("ann"), _person("bob")]
    dropbox.on(routes.ADD, _complete(success(people[1].email)))
    outcomes = await make_team().invite(people, send_welcome=False)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.UNKNOWN, Verdict.DONE]


@pytest.mark.parametrize(
    ("bad", "tag"),
    [
        (Profile(email="zoë@example.test"), "invalid_email"),
        (Profile(email="o/x@example.test"), "invalid_email"),
        (Profile(email=""), "invalid_email"),
        (Profile(email="a@example.test", given_name="A" * 51), "invalid_name"),
        (Profile(email="a@example.test", surname="a:b"), "invalid_name"),
        (Profile(email="a@example.test", external_id="x" * 65), "invalid_external_id"),
    ],
)
async def test_what_dropbox_would_refuse_for_the_whole_batch_fails_alone_before_it(
    dropbox, make_team, success, bad, tag
):
    dropbox.on(routes.ADD, _complete(success("bob@example.test")))
    outcomes = await make_team().invite([bad, _person("bob")], send_welcome=False)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.FAILED, Verdict.DONE]
    assert outcomes[0].tag == tag
    assert len(dropbox.sent(routes.ADD)[0]["new_members"]) == 1


async def test_an_email_twice_in_a_batch_is_sent_once(dropbox, make_team, success):
    dropbox.on(routes.ADD, _complete(success("bob@example.test")))
    outcomes = await make_team().invite(
        [_person("bob"), Profile(email="BOB@example.test")], send_welcome=False
    )
    assert [outcome.tag for outcome in outcomes] == ["", "email_twice"]


async def test_a_batch_refused_for_one_person_is_halved_until_the_others_are_in(dropbox, make_team, success):
    def answer(body):
        emails = [each["member_email"] for each in body["new_members"]]
        if "p5@example.test" in emails:
            return 400, b'Error in call to API function "team/members/add_v2": request body: bad', TEXT
        return _complete(*(success(email) for email in emails))

    dropbox.on(routes.ADD, answer)
    outcomes = await make_team().invite([_person(f"p{n}") for n in range(8)], send_welcome=False)
    assert [outcome.verdict for outcome in outcomes].count(Verdict.DONE) == 7
    assert outcomes[5].verdict is Verdict.FAILED
    assert outcomes[5].tag == "bad_request"


@pytest.mark.parametrize("trouble", [(500, b""), "drop", (200, b"not json"), (200, {".tag": "new_way"})])
async def test_a_lost_reply_makes_the_whole_batch_unknown(dropbox, make_team, trouble):
    dropbox.on(routes.ADD, trouble)
    outcomes = await make_team().invite([_person("ann"), _person("bob")], send_welcome=True)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.UNKNOWN}
    assert len(dropbox.seen) == 1


# --- jobs --------------------------------------------------------------------------------------------------

JOB = (200, {".tag": "async_job_id", "async_job_id": "job-1"})
RUNNING = (200, {".tag": "in_progress"})


async def test_a_job_is_polled_until_it_ends(dropbox, make_team, success, clock):
    dropbox.on(routes.ADD, JOB)
    dropbox.on(routes.ADD_STATUS, RUNNING, RUNNING, _complete(success("ann@example.test")))
    [outcome] = await make_team().invite([_person("ann")], send_welcome=False)
    assert outcome.verdict is Verdict.DONE
    assert dropbox.sent(routes.ADD_STATUS) == [{"async_job_id": "job-1"}] * 3
    assert [each for each in clock.slept if each >= 1] == [1.0, 2.0, 3.0]


async def test_a_job_that_does_not_end_is_unknown_and_keeps_its_id(dropbox, make_team, clock):
    dropbox.on(routes.REMOVE, JOB)
    dropbox.on(routes.REMOVE_STATUS, RUNNING)
    outcome = await make_team().remove("dbmid:1", wipe_data=True)
    assert (outcome.verdict, outcome.job_id) == (Verdict.UNKNOWN, "job-1")
    assert clock.seconds <= JOB_BOUND_SECONDS + 5


@pytest.mark.parametrize(
    ("answer", "tag"),
    [
        ((200, {".tag": "failed", "failed": "some message"}), "job_failed"),
        (_refused("internal_error"), "internal_error"),
        (_refused("invalid_async_job_id"), "invalid_async_job_id"),
        ((500, b""), "job_out_of_sight"),
        ((401, {"error": {".tag": "invalid_access_token"}}), "job_out_of_sight"),
    ],
)
async def test_a_job_that_goes_wrong_is_unknown(dropbox, make_team, answer, tag):
    dropbox.on(routes.ADD, JOB)
    dropbox.on(routes.ADD_STATUS, answer)
    [outcome] = await make_team().invite([_person("ann")], send_welcome=False)
    assert (outcome.verdict, outcome.tag) == (Verdict.UNKNOWN, tag)


async def test_a_blank_job_id_is_not_polled(dropbox, make_team):
    dropbox.on(routes.REMOVE, (200, {".tag": "async_job_id", "async_job_id": " "}))
    assert (await make_team().remove("dbmid:1", wipe_data=True)).verdict is Verdict.UNKNOWN
    assert len(dropbox.seen) == 1


# --- single members ----------------------------------------------------------------------------------------


async def test_every_write_addresses_by_id_and_says_what_it_wipes(dropbox, make_team, profile_of):
    for route in (routes.SUSPEND, routes.UNSUSPEND, routes.RECOVER, routes.SEND_WELCOME):
        dropbox.on(route, (200, None))
    dropbox.on(routes.REMOVE, (200, {".tag": "complete"}))
    dropbox.on(routes.SET_PROFILE, (200, {"member_info": profile_of("new@example.test")}))
    team = make_team()
    who = {".tag": "team_member_id", "team_member_id": "dbmid:1"}
    outcomes = [
        await team.suspend("dbmid:1", wipe_data=False),
        await team.unsuspend("dbmid:1"),
        await team.remove("dbmid:1", wipe_data=True),
        await team.recover("dbmid:1"),
        await team.send_welcome("dbmid:1"),
        await team.update("dbmid:1", Profile(email="New@example.test", surname="Lee")),
    ]
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DONE}
    assert outcomes[-1].member.email == "new@example.test"
    assert [each.body for each in dropbox.seen] == [
        {"user": who, "wipe_data": False},
        {"user": who},
        {
            "user": who,
            "wipe_data": True,
            "keep_account": False,
            "retain_team_shares": False,
            "permanently_delete_files": False,
        },
        {"user": who},
        who,
        {"user": who, "new_email": "new@example.test", "new_surname": "Lee"},
    ]


@pytest.mark.parametrize(
    ("status", "verdict"), [("suspended", Verdict.ALREADY), ("invited", Verdict.STALE), (None, Verdict.STALE)]
)
async def test_an_ambiguous_refusal_is_looked_at_again(dropbox, make_team, profile_of, status, verdict):
    found = (
        {".tag": "member_info", **profile_of(status=status)}
        if status
        else {".tag": "id_not_found", "id_not_found": "dbmid:1"}
    )
    dropbox.on(routes.SUSPEND, _refused("suspend_inactive_user"))
    dropbox.on(routes.GET_MEMBERS, (200, {"members_info": [found]}))
    assert (await make_team().suspend("dbmid:1", wipe_data=True)).verdict is verdict
    assert len(dropbox.sent(routes.SUSPEND)) == 1


async def test_an_ambiguous_refusal_that_can_not_be_looked_at_stays_unknown(dropbox, make_team):
    dropbox.on(routes.SUSPEND, _refused("suspend_inactive_user"))
    dropbox.on(routes.GET_MEMBERS, (500, b""))
    assert (await make_team().suspend("dbmid:1", wipe_data=True)).verdict is Verdict.UNKNOWN


async def test_an_update_that_can_not_be_sent_fails_without_a_request(dropbox, make_team):
    outcome = await make_team().update("dbmid:1", Profile(email="not an address"))
    assert (outcome.verdict, outcome.tag) == (Verdict.FAILED, "invalid_email")
    assert dropbox.seen == []


# --- reading -----------------------------------------------------------------------------------------------


def _page(*members, cursor: str = "", more: bool = False) -> tuple[int, dict]:
    return 200, {"members": list(members), "cursor": cursor, "has_more": more}


async def test_a_list_is_read_whole_and_without_doubles(dropbox, make_team, profile_of):
    ann, bob, cid = (profile_of(f"{name}@example.test") for name in ("ann", "bob", "cid"))
    dropbox.on(routes.LIST, _page(ann, bob, cursor="c1", more=True))
    dropbox.on(routes.LIST_CONTINUE, _page(cursor="c2", more=True), _page(bob, cid, cursor="c3"))
    found = [member async for page in make_team().list_members() for member in page]
    assert [member.email for member in found] == ["ann@example.test", "bob@example.test", "cid@example.test"]
    assert dropbox.sent(routes.LIST) == [{"limit": 1000, "include_removed": True}]
    assert dropbox.sent(routes.LIST_CONTINUE) == [{"cursor": "c1"}, {"cursor": "c2"}]


async def test_a_void_cursor_starts_the_list_again(dropbox, make_team, profile_of):
    ann, bob = (profile_of(f"{name}@example.test") for name in ("ann", "bob"))
    dropbox.on(routes.LIST, _page(ann, cursor="c1", more=True), _page(ann, bob))
    dropbox.on(routes.LIST_CONTINUE, _refused("invalid_cursor"))
    found = [member.email async for page in make_team().list_members() for member in page]
    assert set(found) == {"ann@example.test", "bob@example.test"}


async def test_a_cursor_that_always_dies_is_an_error(dropbox, make_team, profile_of):
    dropbox.on(routes.LIST, _page(profile_of(), cursor="c1", more=True))
    dropbox.on(routes.LIST_CONTINUE, _refused("invalid_cursor"))
    with pytest.raises(TeamReadError):
        [page async for page in make_team().list_members()]
    assert len(dropbox.sent(routes.LIST)) == MOST_RESTARTS + 1


async def test_an_outage_while_paging_is_an_error_and_no_short_list(dropbox, make_team, profile_of):
    dropbox.on(routes.LIST, _page(profile_of(), cursor="c1", more=True))
    dropbox.on(routes.LIST_CONTINUE, (500, b""))
    with pytest.raises(TeamReadError) as info:
        [page async for page in make_team().list_members()]
    assert info.value.exit_code == -16


async def test_a_removed_member_and_an_unfamiliar_status_are_read(dropbox, make_team, profile_of):
    strange = profile_of("bob@example.test", "frozen_by_a_future_version")
    dropbox.on(routes.LIST, _page(profile_of("Ann@Example.test", "removed"), strange))
    [[ann, bob]] = [page async for page in make_team().list_members()]
    assert (ann.status, ann.recoverable, ann.email) == (Status.REMOVED, True, "ann@example.test")
    assert bob.status is not Status.REMOVED


async def test_reads_by_id_are_chunked_and_misses_are_simply_missing(dropbox, make_team, profile_of):
    def answer(body):
        items = []
        for each in body["members"]:
            value = each[each[".tag"]]
            is_found = value.endswith("7")
            items.append(
                {".tag": "member_info", **profile_of(f"{value}@example.test")}
                if is_found
                else {".tag": "id_not_found", "id_not_found": value}
            )
        return 200, {"members_info": items}

    dropbox.on(routes.GET_MEMBERS, answer)
    found = await make_team().get_members(
        member_ids=[f"m{n}" for n in range(450)] + ["m7"], external_ids=["e7", ""]
    )
    assert len(found) == 46
    sizes = [len(body["members"]) for body in dropbox.sent(routes.GET_MEMBERS)]
    assert sizes == [SELECTORS_A_CALL, SELECTORS_A_CALL, 51]


async def test_a_chunk_that_is_too_big_is_halved(dropbox, make_team):
    def answer(body):
        if len(body["members"]) > 60:
            return 400, b'Error in call to API function "team/members/get_info_v2": too many', TEXT
        return 200, {"members_info": [{".tag": "id_not_found", "id_not_found": "x"} for _ in body["members"]]}

    dropbox.on(routes.GET_MEMBERS, answer)
    assert await make_team().get_members(member_ids=[f"m{n}" for n in range(200)]) == []


async def test_an_answer_for_fewer_than_asked_is_an_error(dropbox, make_team):
    dropbox.on(routes.GET_MEMBERS, (200, {"members_info": []}))
    with pytest.raises(TeamReadError):
        await make_team().get_members(emails=["ann@example.test"])


async def test_marks_that_dropbox_could_not_hold_are_not_asked_for(dropbox, make_team):
    assert await make_team().get_members(emails=["zoë@example.test", ""], external_ids=["x" * 65]) == []
    assert dropbox.seen == []
