"""What is sent of a person: behaviour.md §2.3, §2.4, §3 and §4. Dropbox's own validators are the oracle."""

from __future__ import annotations

import unicodedata

import pytest
from dropbox import common, team_common
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.mapping import (
    Mapped,
    changes,
    check_external_id_format,
    clean_email,
    clean_name,
    external_id_of,
    identity_in,
    profile_of,
    split_display_name,
)
from pipeline.errors import ConfigurationError
from pipeline.model import Entry, Kind, Member, Profile, Status

GUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
FORMAT = "ad-guid:{objectGUID}"


@pytest.mark.parametrize(
    ("raw", "email"),
    [
        pytest.param(" Ann@Example.TEST ", "ann@example.test", id="stripped and sent in lower case"),
        ("o'neil+x&y#1_%@a-b.example.test", "o'neil+x&y#1_%@a-b.example.test"),
        ("a@b.fifteenletters", "a@b.fifteenletters"),
        (f"{'a' * 240}@example.test", f"{'a' * 240}@example.test"),
    ],
)
def test_an_e_mail_that_dropbox_accepts(raw: str, email: str) -> None:
    assert clean_email(raw).email == email
    assert clean_email(raw).problem == ""
    common.EmailAddress_validator.validate(email)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("", "no e-mail"),
        (" \t", "no e-mail"),
        ("ann", "not an address"),
        ("ann@localhost", "not an address"),
        ("ann@example.test\n.", "not an address"),
        ("ann lee@example.test", "not an address"),
        ("ann/x@example.test", "not an address"),
        ("a!b=c@example.test", "not an address"),
        ("a@b.c", "not an address"),
        ("a@b.sixteenletterstl", "not an address"),
        ("SMTP:a@b.test", "not an address"),
        ("a@b.test, c@d.test", "not an address"),
        ("änn@example.test", "outside ASCII"),
        ("\u212aim@example.test", "outside ASCII"),
        (f"{'a' * 250}@example.test", "longer than"),
    ],
)
def test_an_e_mail_that_dropbox_refuses_is_refused_with_a_reason(raw: str, problem: str) -> None:
    assert clean_email(raw).email == ""
    assert problem in clean_email(raw).problem
    with pytest.raises(Exception, match=r"did not match|must be at most"):
        common.EmailAddress_validator.validate(raw.strip())


@given(st.text() | st.from_regex(r"[a-zA-Z'.]{1,5}@[a-zA-Z.-]{1,9}\.[a-z]{1,17}"))
def test_no_e_mail_gets_through_that_dropbox_would_refuse(raw: str) -> None:
    cleaned = clean_email(raw)
    assert bool(cleaned.email) != bool(cleaned.problem)
    if cleaned.email:
        common.EmailAddress_validator.validate(cleaned.email)
        assert clean_email(cleaned.email) == cleaned


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Ann", "Ann"),
        ("  Ann \t Mary ", "Ann Mary"),
        ('A/B:C?D*E<F>G"H|I\\J', "A B C D E F G H I J"),
        ("Ann\r\nBcc: x", "Ann Bcc x"),
        ("A\x00nn", "A nn"),
        ("evil\u202egnp", "evilgnp"),
        ("lone\ud800surrogate", "lone surrogate"),
        ("???", ""),
        ("", ""),
        ("Jose\u0301", "Jos\u00e9"),
        ("x" * 51, "x" * 50),
        ("x" * 49 + " yz", "x" * 49),
        pytest.param(
            "x" * 48 + "yq\u0323\u0301z", "x" * 48 + "y", id="an accented character is not cut in two"
        ),
        pytest.param(
            "x" * 49 + "\U0001f469\u200d\U0001f680", "x" * 49, id="a joined emoji is not cut in two"
        ),
        pytest.param("x" * 49 + "\U0001f44d\U0001f3fd", "x" * 49, id="nor is its skin tone cut off"),
        pytest.param("\U0001f600" * 51, "\U0001f600" * 50, id="a code point beyond 16 bits counts once"),
        pytest.param(
            "q" + "\u0323" * 60, "q" + "\u0323" * 49, id="one endless character is cut all the same"
        ),
    ],
)
def test_names_are_cleaned_to_what_dropbox_accepts(raw: str, name: str) -> None:
    assert clean_name(raw) == name


@given(st.text() | st.text("a\u0301\u200d/ \U0001f3fd", min_size=40, max_size=70))
@example("\ud800")
@example("e\u202e\u0301")
@example("?\u0338>\u0338")
@example("a" * 49 + "\u00a0" + "b")
def test_any_name_comes_out_acceptable_and_cleaning_twice_changes_nothing(raw: str) -> None:
    name = clean_name(raw)
    common.OptionalNamePart_validator.validate(name)
    assert "\\" not in name
    assert name == name.strip()
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    assert clean_name(name) == name
    name.encode()


def entry(**fields: str) -> Entry:
    return Entry(guid=GUID, kind=Kind.USER, dn="CN=Ann", **fields)


def mapped(**fields: str) -> Mapped:
    return profile_of(entry(**fields), external_id_format=FORMAT)


def test_a_clean_person_is_mapped_without_notes() -> None:
    one = mapped(email="Ann@Example.test", given_name="Ann", surname="Lee", display_name="Lee, A.")
    assert one.profile == Profile(
        email="ann@example.test", given_name="Ann", surname="Lee", external_id=f"ad-guid:{GUID}"
    )
    assert one.invitation_profile == one.profile
    assert (one.email_problem, one.notes) == ("", ())


def test_what_was_cleaned_or_refused_is_noted() -> None:
    one = mapped(email="bad", given_name="A/B", surname="??")
    assert one.profile == Profile(given_name="A B", external_id=f"ad-guid:{GUID}")
    assert one.email_problem == "e-mail 'bad' is not an address that Dropbox accepts"
    assert one.notes == (
        one.email_problem,
        "first name 'A/B' is sent as 'A B'",
        "last name '??' can't be sent",
    )


def test_white_space_and_normal_forms_are_not_worth_a_note() -> None:
    assert mapped(email="a@b.test", given_name=" Jose\u0301  M ", surname="x").notes == ()


def test_both_names_empty_the_display_name_is_used_for_an_invitation_only() -> None:
    one = mapped(email="ann@example.test", given_name="?", display_name=" Ann Lee/Sales ")
    assert (one.profile.given_name, one.profile.surname) == ("", "")
    assert (one.invitation_profile.given_name, one.invitation_profile.surname) == ("Ann", "Lee Sales")
    assert one.invitation_profile.email == "ann@example.test"
    assert one.notes[-1] == "no first and no last name: invited as 'Ann Lee/Sales'"


@pytest.mark.parametrize("names", [{"given_name": "Ann"}, {"surname": "Lee"}])
def test_one_name_is_enough_to_leave_the_display_name_alone(names: dict[str, str]) -> None:
    one = mapped(email="a@b.test", display_name="Some Body", **names)
    assert one.invitation_profile == one.profile


def test_nobody_s_names_at_all() -> None:
    one = mapped(email="a@b.test", display_name="  ")
    assert one.invitation_profile == one.profile
    assert one.notes == ()


@pytest.mark.parametrize(
    ("display_name", "names"),
    [
        ("Ann Lee", ("Ann", "Lee")),
        ("Ann Mary Lee", ("Ann Mary", "Lee")),
        ("Lee, Ann", ("Ann", "Lee")),
        ("van der Berg, Jan", ("Jan", "van der Berg")),
        ("Jan van der Berg", ("Jan", "van der Berg")),
        ("Maria de la Cruz", ("Maria", "de la Cruz")),
        ("ann lee", ("ann", "lee")),
        ("Ann", ("Ann", "")),
        ("Ann,", ("Ann", "")),
        (",Ann Lee", ("Ann", "Lee")),
        (" , ", ("", "")),
        ("", ("", "")),
    ],
)
def test_a_display_name_is_split_sensibly(display_name: str, names: tuple[str, str]) -> None:
    assert split_display_name(display_name) == names


# --- external id --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "external_id"),
    [
        (FORMAT, f"ad-guid:{GUID}"),
        ("{objectGUID}", GUID),
        ("ADSYNC {objectSid}", "ADSYNC S-1-5-21-1-2-3-1104"),
        ("x{objectGUID}y", f"x{GUID}y"),
        pytest.param("x" * 28 + "{objectGUID}", "x" * 28 + GUID, id="64 characters"),
        pytest.param("x" * 29 + "{objectGUID}", "", id="an id too long is never cut"),
    ],
)
def test_the_external_id_has_exactly_one_identity_and_at_most_64_characters(
    text: str, external_id: str
) -> None:
    one = external_id_of(entry(sid="S-1-5-21-1-2-3-1104"), text)
    assert one == external_id
    team_common.MemberExternalId_validator.validate(one)


def test_without_a_sid_there_is_no_sid_in_the_external_id() -> None:
    one = profile_of(entry(email="a@b.test"), external_id_format="ADSYNC {objectSid}")
    assert one.profile.external_id == ""
    assert one.notes[-1].startswith("no external id")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fixed",
        "{objectGUID}{objectSid}",
        "{objectGUID} {objectGUID}",
        "{objectguid}",
        "{x}{objectGUID}",
        "{objectGUID}}",
    ],
)
def test_a_format_without_exactly_one_placeholder_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="exactly one"):
        check_external_id_format(text)


@pytest.mark.parametrize(
    ("external_id", "text", "identity"),
    [
        (f"ad-guid:{GUID}", FORMAT, GUID),
        ("ADSYNC S-1-5-21-9", "ADSYNC {objectSid}", "S-1-5-21-9"),
        (f"x{GUID}y", "x{objectGUID}y", GUID),
        (GUID, "{objectGUID}", GUID),
        ("okta:00u1", "{objectGUID}", ""),
        ("xGy", "x{objectGUID}y", ""),
        ("00u-okta", FORMAT, ""),
        ("ad-guid:", FORMAT, ""),
        ("aa", "aa{objectGUID}aa", ""),
        ("", FORMAT, ""),
    ],
)
def test_the_identity_is_read_back_from_our_own_ids_only(external_id: str, text: str, identity: str) -> None:
    assert identity_in(external_id, text) == identity


# --- changes ------------------------------------------------------------------------------------------

MEMBER = Member(
    member_id="dbmid:1",
    status=Status.ACTIVE,
    email="ann@example.test",
    given_name="Ann",
    surname="Lee",
    external_id="id",
)


@pytest.mark.parametrize(
    ("wanted", "differs"),
    [
        (Profile(email="ann@example.test", given_name="Ann", surname="Lee", external_id="id"), Profile()),
        pytest.param(Profile(), Profile(), id="an update never empties a name"),
        pytest.param(Profile(email="ANN@example.test"), Profile(), id="e-mails compare in lower case"),
        pytest.param(Profile(given_name="ann"), Profile(given_name="ann"), id="names compare exactly"),
        (Profile(surname="Smith"), Profile(surname="Smith")),
        (Profile(email="a@example.test", surname="Lee"), Profile(email="a@example.test")),
        (Profile(external_id="ID"), Profile(external_id="ID")),
    ],
)
def test_only_what_differs_is_changed(wanted: Profile, differs: Profile) -> None:
    assert changes(wanted, MEMBER) == differs


def test_another_normal_form_of_the_same_name_is_no_change() -> None:
    member = Member(
        member_id="dbmid:1", status=Status.ACTIVE, email="", given_name="Jose\u0301", surname="Lee\u0301"
    )
    assert changes(Profile(given_name="Jos\u00e9", surname="Le\u00e9"), member) == Profile()


@given(st.text() | st.text("ae\u0301\u200d/ .", max_size=60))
@example("\u0958" * 30)
@example(" Ann")
def test_a_name_is_noted_exactly_when_more_than_its_form_was_changed(raw: str) -> None:
    """White space and normal form are nothing to tell people about."""
    has_changed = clean_name(raw) != " ".join(unicodedata.normalize("NFC", raw).split())
    assert bool(mapped(email="a@b.test", given_name=raw, display_name="Ann").notes) == (
        has_changed or not clean_name(raw)
    )


@given(st.sampled_from(["", "Ann", "A/B", "Jose\u0301"]) | st.text(), st.text())
def test_a_name_is_set_unless_it_is_what_the_member_shows_as_it_stands_or_cleaned(
    wanted: str, shown: str
) -> None:
    for seen in (shown, wanted):
        member = Member(member_id="dbmid:1", status=Status.ACTIVE, email="", surname=seen)
        is_set = changes(Profile(surname=wanted), member).surname == wanted != ""
        assert is_set == (wanted not in ("", seen, clean_name(seen)))


@given(st.text(), st.text())
def test_what_was_set_is_no_change_any_more(given_name: str, surname: str) -> None:
    wanted = mapped(email="a@b.test", given_name=given_name, surname=surname).profile
    member = Member(
        member_id="dbmid:1",
        status=Status.ACTIVE,
        email=wanted.email,
        given_name=wanted.given_name,
        surname=wanted.surname,
        external_id=wanted.external_id,
    )
    assert changes(wanted, member) == Profile()
