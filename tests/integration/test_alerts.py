"""Alerts: a dead mail server stops nothing and loses nothing; a blind account is told of (behaviour.md §5, §10)."""

import pytest

COCO = "coco.chanel@example.test"
HEDY = "hedy.lamarr@example.test"


@pytest.mark.parametrize("trouble", ["dead", "refuses"])
def test_a_dead_mail_server_stops_nothing_and_the_alert_arrives_once_with_a_later_run(settled, trouble):
    settled.configure(safety={"max_leavers": 0})
    if trouble == "dead":
        settled.mailbox.stop_blocking()
    else:
        settled.mailbox.refuse_with = "451 4.3.0 try later"
    settled.admin.remove_members("Dropbox", "Hedy Lamarr")
    settled.admin.modify("Ada Lovelace", sn="King")
    done = settled("run")
    settled.check_exit_line(-18, done)
    assert settled.members()["ada.lovelace@example.test"].surname == "King"
    assert settled.status()["mails_waiting"] == 1
    settled.mailbox.refuse_with = ""
    settled.mailbox.start_blocking()
    assert settled("run").code == -18
    (mail,) = settled.mailbox.wait_for_blocking(1)
    assert "approve" in mail.text
    assert mail.was_encrypted
    assert settled("run").code == -18
    assert len(settled.mailbox.received) == 1
    assert settled.status()["mails_waiting"] == 0


def test_with_a_dead_mail_server_watch_goes_on_and_sends_the_alert_once_it_is_back(settled, tools):
    settled.configure(safety={"max_leavers": 0})
    settled.mailbox.stop_blocking()
    watch = settled.watch()
    settled.admin.remove_members("Dropbox", "Hedy Lamarr")
    tools.wait_until(lambda: "alert_failed" in watch.err, lambda: watch.err)
    settled.admin.modify("Ada Lovelace", sn="King")
    tools.wait_until(lambda: settled.members()["ada.lovelace@example.test"].surname == "King", "work goes on")
    settled.mailbox.start_blocking()
    settled.mailbox.wait_for_blocking(1, seconds=30)
    settled.admin.modify("Ada Lovelace", sn="Byron")
    tools.wait_until(
        lambda: settled.members()["ada.lovelace@example.test"].surname == "Byron", "work goes on"
    )
    assert watch.terminate() in (0, -18)
    assert len(settled.mailbox.received) == 1


def test_a_mail_has_plain_text_and_html_and_no_secret(settled):
    settled.configure(safety={"max_leavers": 0})
    settled.admin.remove_members("Dropbox", "Hedy Lamarr")
    settled("run")
    (mail,) = settled.mailbox.wait_for_blocking(1)
    assert {part.get_content_type() for part in mail.message.walk()} >= {"text/plain", "text/html"}
    facts = settled.sandbox.facts
    for text in (mail.message.as_string(), settled.log_file.read_text()):
        for secret in (facts.service_password, settled.team.config.refresh_token, "sl."):
            assert secret not in text


def test_a_blind_account_suspends_at_most_and_names_the_missing_right(settled):
    blind = settled.sandbox.facts
    secret = settled.folder / "secrets" / "blind"
    secret.touch(mode=0o600)
    secret.write_text(blind.blind_password)
    settled.configure(directory={"username": blind.blind_account, "password": f"file:{secret}"})
    settled("run", "--full")
    (mail,) = settled.mailbox.wait_for_blocking(1)
    assert "CN=Deleted Objects" in mail.text
    settled.admin.delete("Coco Chanel")
    settled("run")
    settled("run")  # who is only missing has to be missed twice
    settled("run", "--full")
    settled("run", "--full")
    assert settled.states()[COCO] == "suspended"
    assert not settled.effects()["removals"]
    found = settled("check", "directory")
    assert "Deleted Objects" in found.out

    settled.configure()  # the right is there: now there is proof
    settled.ok("run")
    settled.ok("run", "--full")
    assert settled.states()[COCO] == "removed"


def test_the_alerts_of_a_simulation_are_marked_and_sent_once(settled):
    settled.configure(simulation=True, safety={"max_leavers": 0})
    settled.admin.remove_members("Dropbox", "Hedy Lamarr")
    done = settled("run")
    settled.check_exit_line(-18, done)
    (mail,) = settled.mailbox.wait_for_blocking(1)
    assert "SIMULATION" in mail.subject
    assert settled("run").code == -18
    assert len(settled.mailbox.received) == 1
    assert settled.status()["mails_waiting"] == 0
    assert settled.writes() == []
    settled.admin.add_members("Dropbox", "Hedy Lamarr")
    settled.mailbox.refuse_with = "451 4.3.0 try later"
    settled.ok("run")  # nothing to tell
    settled.admin.remove_members("Dropbox", "Hedy Lamarr")
    late = settled("run")
    settled.check_exit_line(-18, late)
    assert "were not mailed" in late.err
