import pytest

from pipeline.errors import ConfigurationError
from stages.directory.options import DirectoryOptions, Target, parse_target

GOOD = {"servers": ("ldaps://dc1.example.test",), "username": "u@x", "password": "s3cret"}


def faults(**changes: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        DirectoryOptions(**{**GOOD, **changes})
    return "\n".join(caught.value.faults)


def test_good_options_hide_the_password() -> None:
    assert "s3cret" not in repr(DirectoryOptions(**GOOD))


def test_all_faults_come_at_once() -> None:
    text = faults(servers=("http://x",), password="", change_source="guess", timeout_seconds=0)
    assert len(text.splitlines()) == 4


def test_plain_ldap_needs_starttls() -> None:
    assert "start_tls" in faults(servers=("ldap://dc1",))
    assert DirectoryOptions(**{**GOOD, "servers": ("ldap://dc1",), "start_tls": True})


@pytest.mark.parametrize("changes", [{"servers": ()}, {"domain": "example.test"}])
def test_servers_or_domain_and_not_both(changes: dict[str, object]) -> None:
    assert "exactly one" in faults(**changes)


@pytest.mark.parametrize("port", [3268, 3269])
def test_a_global_catalog_is_refused(port: int) -> None:
    assert "global catalog" in faults(servers=(f"ldaps://dc1:{port}",))


def test_kerberos_needs_no_password_but_tls_all_the_same() -> None:
    assert DirectoryOptions(servers=GOOD["servers"], auth="kerberos")
    assert "start_tls" in faults(auth="kerberos", servers=("ldap://dc1",))


def test_kerberos_has_one_source_of_tickets() -> None:
    assert "give one of the two" in faults(auth="kerberos", keytab="k", ccache="c")
    assert "directory.username" in faults(auth="kerberos", keytab="k", username="")
    assert 'only with directory.auth = "kerberos"' in faults(keytab="k")
    assert "directory.auth" in faults(auth="ntlm")


@pytest.mark.parametrize("missing", ["username", "password"])
def test_an_anonymous_bind_is_never_made(missing: str) -> None:
    assert missing in faults(**{missing: ""})


@pytest.mark.parametrize("name", ["", "mail)(x", "mail;binary", "*"])
def test_the_mail_attribute_is_a_name(name: str) -> None:
    assert "email_attribute" in faults(email_attribute=name)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ldaps://dc1.example.test", Target("dc1.example.test", 636, implicit_tls=True)),
        ("ldap://dc1:1389/", Target("dc1", 1389, implicit_tls=False)),
        ("LDAPS://[::1]:637", Target("::1", 637, implicit_tls=True)),
    ],
)
def test_addresses(url: str, target: Target) -> None:
    assert parse_target(url) == target
    assert parse_target(target.url) == target


@pytest.mark.parametrize(
    "url", ["dc1", "ldaps://", "ldaps://dc1:x", "ldaps://dc1/dc=x", "ldaps://u@dc1", "ldapi://x"]
)
def test_bad_addresses(url: str) -> None:
    with pytest.raises(ValueError):
        parse_target(url)
