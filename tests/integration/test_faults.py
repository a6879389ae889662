"""Each fault ends the pass with its code and says what to do; none writes to Dropbox (issue 2, point 5)."""

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from sandbox.certificates import Authority

ADA = "ada.lovelace@example.test"


@pytest.fixture(scope="module")
def shared(make_shared_world):
    """All members are active; a suspension is due, and must never be sent by any of these tests."""
    world = make_shared_world()
    world.join_standard_people()
    world.ok("run")
    world.admin.disable("Ada Lovelace")
    world.admin.create_group("Empty Group")
    world.admin.create_group("Mailless Group", members=["Nikola Tesla"])
    world.forget_exchanges()
    return world


@pytest.fixture
def broken(shared):
    yield shared
    shared.no_more_faults()
    assert shared.writes() == []
    assert shared.states()[ADA] == "active"
    assert shared.sandbox.facts.service_password not in shared.log_file.read_text()


def _ends(world, code, *said, arguments=("run",), **environment):
    done = world(*arguments, **environment)
    assert done.code == code, done.err
    assert done.err.splitlines()[-1] == f"exit code: {code}"
    world.check_exit_line(code)
    for text in said:
        assert text in done.err, done.err
    return done


# --- the directory


def test_a_wrong_bind_password_is_minus_12(broken):
    broken.configure(directory={"password": "env:AD_PASSWORD"})
    done = _ends(broken, -12, "check directory", "password", AD_PASSWORD="not-the-password")
    assert "not-the-password" not in done.err + "\n".join(broken.log_lines)


def test_an_unreachable_server_is_minus_12(broken):
    broken.configure(
        directory={"servers": [f"ldaps://127.0.0.1:{broken.unused_port()}"], "timeout_seconds": 3}
    )
    _ends(broken, -12, "check directory", "127.0.0.1")


def test_an_untrusted_certificate_is_minus_12(broken, tmp_path):
    broken.configure(directory={"ca_file": str(Authority(tmp_path / "other").ca_file)})
    _ends(broken, -12, "certificate", "ca_file")


def test_the_second_server_is_taken_when_the_first_is_down(broken):
    down = f"ldaps://127.0.0.1:{broken.unused_port()}"
    broken.configure(directory={"servers": [down, broken.sandbox.facts.ldaps_url], "timeout_seconds": 3})
    assert broken("plan").code == 0


@pytest.mark.parametrize(
    "group", ["Nowhere", "CN=Nowhere,DC=example,DC=test", "00000000-1111-2222-3333-444444444444"]
)
def test_a_sync_group_that_is_missing_is_minus_15(broken, group):
    broken.configure(users={"sync_group": group}, journal={"path": str(broken.folder / "other.db")})
    _ends(broken, -15, group, "group")


@pytest.mark.parametrize("group", ["Empty Group", "Mailless Group"])
@pytest.mark.parametrize("journal", ["journal.db", "fresh.db"])
def test_nobody_in_scope_is_minus_15_and_never_everybody_left(broken, group, journal):
    broken.configure(users={"sync_group": group}, journal={"path": str(broken.folder / journal)})
    _ends(broken, -15, "nobody was touched")


# --- the configuration


@pytest.mark.parametrize(
    ("section", "key", "nearest"),
    [
        ("users", "sync_gruop", "sync_group"),
        ("directory", "sever", "servers"),
        ("safety", "max_leaver", "max_leavers"),
    ],
)
def test_an_unknown_key_is_minus_10_with_the_nearest_known_one(broken, section, key, nearest):
    broken.configure(**{section: {key: "x"}})
    _ends(broken, -10, f"{section}.{key}", nearest)


def test_all_faults_of_a_configuration_are_listed_at_once(broken):
    broken.configure(
        users={"on_delete": "explode", "reinvite_days": -1},
        directory={"poll_seconds": "soon"},
        mail={"port": 99999},
    )
    done = broken("run")
    assert done.code == -10
    for key in ("users.on_delete", "users.reinvite_days", "directory.poll_seconds", "mail.port"):
        assert key in done.err


def test_plain_ldap_without_starttls_is_minus_10(broken):
    broken.configure(directory={"servers": [broken.sandbox.facts.ldap_url]})
    done = broken("run")
    assert done.code == -10
    assert "start_tls" in done.err


def test_starttls_on_the_plain_port_works(broken):
    broken.configure(directory={"servers": [broken.sandbox.facts.ldap_url], "start_tls": True})
    assert broken("plan").code == 0


@pytest.mark.parametrize("text", ["simulation = maybe", "[users\n", ""])
def test_a_broken_file_is_minus_10(broken, text):
    file = broken.folder / "broken.toml"
    file.touch(mode=0o600)
    file.write_text(text)
    done = broken("run", config=file)
    assert done.code == -10
    assert done.err.splitlines()[-1] == "exit code: -10"
    broken.check_exit_line(-10)  # the default log, beside the file


def test_a_missing_file_is_minus_10(broken):
    done = broken("run", config=broken.folder / "missing.toml")
    assert done.code == -10
    assert "missing.toml" in done.err


def test_a_person_whom_nobody_knows_is_2_and_harms_no_pass(broken):
    broken.configure()
    mails = len(broken.mailbox.messages)
    done = _ends(broken, 2, f"did you mean {ADA}?", arguments=("run", "--only", "ada.lovlace@example.test"))
    assert "find the person" in done.err
    assert broken.status()["last_pass"]["exit_code"] == 2
    assert len(broken.mailbox.messages) == mails, "who typed it was told on the spot"
    assert broken("run", "--simulate", "--only", ADA).code == 2


def test_a_literal_secret_in_a_file_that_others_may_read_is_minus_11(broken):
    password = broken.sandbox.facts.service_password
    file = broken.configure(directory={"password": password})
    file.chmod(0o644)
    done = broken("run")
    file.chmod(0o600)
    assert done.code == -11
    assert "connector.toml" in done.err
    assert "600" in done.err
    assert password not in done.err
    assert done.err.splitlines()[-1] == "exit code: -11"
    broken.check_exit_line(-11)


def test_a_secret_file_that_others_may_read_is_minus_11(broken):
    broken.configure()
    file = broken.folder / "secrets" / "ad-password"
    file.chmod(0o640)
    done = broken("run")
    file.chmod(0o600)
    assert done.code == -11
    assert str(file) in done.err


def test_a_log_that_can_not_be_written_is_minus_11(broken):
    broken.configure(log={"path": "/sys/ad-connector.log"})
    done = broken("run")
    assert done.code == -11
    assert "/sys/ad-connector.log" in done.err
    assert done.err.splitlines()[-1] == "exit code: -11"


# --- Dropbox


def test_a_revoked_refresh_token_is_minus_13(broken):
    broken.configure()
    revoked = broken.folder / "secrets" / "revoked"
    revoked.touch(mode=0o600)
    revoked.write_text("this-token-was-revoked")
    broken.configure(dropbox={"refresh_token": f"file:{revoked}"})
    _ends(broken, -13, "authorize")


def test_a_revoked_access_token_is_minus_14(broken):
    broken.configure(dropbox={"access_token": "env:TOKEN", "refresh_token": ""})
    _ends(broken, -14, "authorize", TOKEN="sl.revoked-token")


def test_a_token_file_that_is_missing_is_told_before_anything_else(broken):
    broken.configure(dropbox={"refresh_token": "file:nowhere.token"})
    done = broken("run")
    assert done.code in (-10, -13)
    assert "nowhere.token" in done.err


def test_dropbox_out_of_reach_is_minus_14(broken):
    broken.configure(dropbox={"api_url": f"http://127.0.0.1:{broken.unused_port()}", "timeout_seconds": 2})
    done = broken("run")
    assert done.code in (-13, -14), done.err
    broken.check_exit_line(done.code)


@pytest.mark.parametrize("kind", ["500_before", "401", "html", "drop_before"])
def test_team_info_that_can_not_be_fetched_is_minus_14(broken, kind):
    broken.configure()
    broken.fault(kind, "team/get_info", count=None)
    done = _ends(broken, -14, "status page", "ad-connector authorize", "still active")
    last = broken.status()["last_pass"]
    for said in (done.err, last["remedy"]):
        is_outage = said.index("status page") < said.index("ad-connector authorize")
        assert is_outage == (kind != "401"), said
    assert "team/get_info" in last["cause"]


@pytest.mark.parametrize("kind", ["500_before", "html", "400"])
def test_members_that_can_not_be_listed_are_minus_16(broken, kind):
    broken.configure()
    broken.fault(kind, "team/members/list_v2", count=None)
    _ends(broken, -16, "try again", arguments=("run", "--full"))


def test_a_listing_that_breaks_off_in_the_middle_is_minus_16(make_world):
    world = make_world(team={"page_cap": 4})
    world.join_standard_people()
    world.fault("500_before", "team/members/list/continue_v2", skip=1, count=None)
    _ends(world, -16, "try again")
    assert world.writes() == []
    world.no_more_faults()
    world.fault("invalid_cursor", "team/members/list/continue_v2", skip=1)
    world.ok("run")
    assert world.writes() == [], "the listing began again, and found everybody"


def test_single_members_that_can_not_be_read_are_minus_16(broken):
    broken.configure()
    broken.fault("500_before", "team/members/get_info_v2", count=None)
    _ends(broken, -16, "try again")


def test_a_truncated_list_of_members_is_minus_16(broken):
    broken.configure()
    broken.fault("truncated_json", "team/members/list_v2", count=None)
    _ends(broken, -16, arguments=("run", "--full"))


# --- the journal


def test_a_journal_in_a_folder_that_is_missing_says_so(broken):
    broken.configure(journal={"path": str(broken.folder / "nowhere" / "journal.db")})
    done = broken("run")
    assert done.code in (-11, -20)
    assert "nowhere" in done.err
    broken.check_exit_line(done.code)


def test_a_journal_that_can_not_be_written_says_so(broken):
    broken.configure(journal={"path": "/sys/journal.db"})
    done = broken("run")
    assert done.code in (-11, -20)
    assert "/sys/journal.db" in done.err
    broken.check_exit_line(done.code)


@pytest.mark.parametrize("damage", ["garbage", "holes", "newer"])
def test_a_journal_that_can_not_be_used_is_minus_20(broken, damage):
    broken.configure()
    file = broken.folder / f"{damage}.db"
    if damage == "garbage":
        file.write_bytes(b"this is no database, and never was one. " * 200)
    else:
        broken.ok("journal", "backup", file)
    if damage == "holes":
        with file.open("r+b") as opened:
            opened.seek(4096)
            opened.write(os.urandom(file.stat().st_size - 4096))
    if damage == "newer":
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA user_version = 999")
        connection.close()
    before = file.read_bytes()
    broken.configure(journal={"path": str(file)})
    _ends(broken, -20, "upgrade" if damage == "newer" else "restore")
    if damage != "holes":
        assert file.read_bytes() == before, "nothing is written into it"


def test_a_full_disk_is_minus_20_and_nothing_is_half_written(make_world):
    world = make_world(people=300)
    disk = world.folder / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=False).returncode
    ):
        pytest.skip("may not mount a small file system")
    try:
        world.configure(journal={"path": str(disk / "journal.db")})
        _ends(world, -20, "disk")
        assert world.writes() == []
        subprocess.run([mount, "-o", "remount,size=64m", disk], check=True)
        world.ok("run")
        assert len(world.members()) == 310
        assert set(world.effects()["invitations"].values()) == {1}
    finally:
        subprocess.run([shutil.which("umount"), disk], check=True)


@pytest.fixture
def failing_disk(tmp_path):
    """A file system of its own that makes itself read-only when told so, as one does that finds an error on its disk.

    A remount would be refused while the journal is open. Yields the folder, how to break it, and how to mend it.
    """
    tools = [shutil.which(name) for name in ("mkfs.ext4", "fsck.ext4", "mount", "umount", "losetup")]
    image, folder = tmp_path / "disk.img", tmp_path / "disk"
    if None in tools or os.geteuid() != 0:
        pytest.skip("may not mount a file system of its own")
    make, check, mount, umount, losetup = tools
    folder.mkdir()
    with image.open("wb") as opened:
        opened.truncate(32 * 1024 * 1024)
    subprocess.run([make, "-q", "-F", image], check=True)

    def attach():
        return subprocess.run(
            [mount, "-o", "loop,errors=remount-ro", image, folder], check=False, capture_output=True
        ).returncode

    if attach():
        pytest.skip("may not mount a file system of its own")
    found = subprocess.run([losetup, "-n", "-O", "NAME", "-j", image], check=True, capture_output=True)
    trigger = Path("/sys/fs/ext4", Path(found.stdout.decode().strip()).name, "trigger_fs_error")

    def fail():
        trigger.write_text("1")

    def mend():
        subprocess.run([umount, folder], check=True)
        # 1: what was wrong has been mended.
        assert subprocess.run([check, "-f", "-y", image], check=False, capture_output=True).returncode in (
            0,
            1,
        )
        assert attach() == 0

    try:
        if not os.access(trigger, os.W_OK):
            pytest.skip("the kernel does not let its file system fail")
        yield folder, fail, mend
    finally:
        subprocess.run([umount, folder], check=True)


def test_a_disk_that_becomes_read_only_under_a_running_watch_is_minus_20(make_world, failing_disk):
    disk, fail, mend = failing_disk
    world = make_world()
    world.configure(journal={"path": str(disk / "journal.db")}, users={"leave_settle_seconds": 0})
    world.join_standard_people()
    running = world.watch()
    world.forget_exchanges()
    fail()
    world.admin.modify("Coco Chanel", sn="Readonly")
    assert running.wait() == -20
    world.check_exit_line(-20)
    assert world.writes() == [], "nothing is sent that could not be written ahead"
    assert world("run").code == -20  # and so it stays, with nothing half-written, until the disk is mended
    assert world.writes() == []
    mend()
    world.ok("journal", "verify")
    world.ok("run")
    assert [kind for kind, _ in world.sent()] == ["update"]
    assert set(world.effects()["invitations"].values()) == {1}


def test_exit_codes_in_a_log_for_machines(broken):
    log = broken.folder / "machine.log"
    broken.configure(log={"format": "json", "path": str(log)}, directory={"password": "env:AD_PASSWORD"})
    assert broken("run", AD_PASSWORD="wrong").code == -12
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[-1]["event"] == "pass_ended"
    assert lines[-1]["exit_code"] == -12
    assert any("hint" in line for line in lines)


def test_a_fault_is_mailed_once_and_its_end_too(make_world):
    world = make_world()
    world.join_standard_people()
    world.ok("run")
    world.fault("500_before", "team/get_info", count=None)
    assert world("run").code == -14
    assert world("run").code == -14
    (mail,) = world.mailbox.wait_for_blocking(1)
    assert "-14" in mail.text
    world.no_more_faults()
    world.ok("run")
    assert len(world.mailbox.wait_for_blocking(2)) == 2


@pytest.mark.parametrize("fault", ["configuration", "rights", "journal"])
def test_a_fault_before_the_pass_could_begin_is_mailed_too(make_world, fault):
    world = make_world()
    if fault == "configuration":
        world.configure(users={"sync_gruop": "x"})
        code = -10
    elif fault == "rights":
        world.configure()
        (world.folder / "secrets" / "ad-password").chmod(0o644)
        code = -11
    else:
        world.configure()
        world.journal_file.write_bytes(b"no database " * 1000)
        code = -20
    assert world("run").code == code
    (mail,) = world.mailbox.wait_for_blocking(1, seconds=1)
    assert str(code) in mail.text
