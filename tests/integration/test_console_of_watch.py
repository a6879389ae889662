"""The console of a real `watch`, over TLS: opened by the address that `status --console` prints, it shows what is held until it is approved."""

import re
import signal
import ssl
import urllib.error
import urllib.request
from datetime import UTC, datetime
from http.cookiejar import CookieJar

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SALES = "estee.lauder@example.test"


def test_a_held_set_appears_with_its_command_and_is_gone_when_that_was_typed(settled, tools):
    world = settled
    authority, port = world.sandbox.authority, world.unused_port()
    files = authority.issue("console.example.test", "127.0.0.1")
    origin = f"https://127.0.0.1:{port}"
    world.configure(
        safety={"max_leavers": 3},
        service={
            "listen": f"127.0.0.1:{port}",
            "tls_certificate": str(files.certificate),
            "tls_key": str(files.key),
        },
    )
    alone = world("status", "--console")
    assert alone.code == 2
    assert "no watch is running" in alone.err
    watch = world.start("watch")
    watch.wait_ready()

    told = world.ok("status", "--console")
    (address,) = told.out.split()
    assert address.startswith(f"{origin}/open?key=")
    browser = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(CookieJar()),
        urllib.request.HTTPSHandler(context=authority.client_context()),
    )

    def look(path="/"):
        with browser.open(f"{origin}{path}", timeout=10) as reply:
            return reply.read().decode()

    def refusal(path):
        try:
            look(path)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        return None

    code, words = refusal("/")
    assert code == 403
    assert "ad-connector status --console" in words
    with browser.open(address, timeout=10) as reply:
        assert reply.url == f"{origin}/"
        assert "All is well" in reply.read().decode()

    world.admin.remove_members("Dropbox", "Sales Team")
    command = re.compile(r"ad-connector approve ([0-9a-f]{12})</code>")
    tools.wait_until(lambda: command.search(look()), "the held set appears", seconds=60)
    page = look()
    (digest,) = set(command.findall(page))
    assert "Held by the brake: 4 leavers" in page
    assert SALES in page
    assert "exit" in look("/journal").lower()
    person = look(f"/person?q={SALES}")
    assert "left" in person
    assert "suspend" in person

    world.ok("approve", digest)
    tools.wait_until(lambda: world.states()[SALES] == "suspended", "they are suspended", seconds=60)
    tools.wait_until(lambda: "Held by the brake" not in look(), "the set is gone", seconds=60)

    # A renewed certificate is shown without a restart, and whoever looks is still known.
    before = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    authority.issue("console.example.test", "127.0.0.1")
    watch.process.send_signal(signal.SIGHUP)
    tools.wait_until(
        lambda: ssl.get_server_certificate(("127.0.0.1", port), timeout=10) != before, "it is renewed"
    )
    assert "How things stand" in look()

    # One that can't be used, or has run out, is told by mail, and never takes its place.
    shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    for spoil, words in (
        (lambda: files.key.write_bytes(authority.issue("other.example.test").key.read_bytes()), "mismatch"),
        (lambda: files.key.chmod(0o644), "can be read by others"),
        (lambda: authority.issue("console.example.test", "127.0.0.1", until=LONG_AGO), "has expired"),
        (files.certificate.unlink, "does not exist"),
    ):
        spoil()
        watch.process.send_signal(signal.SIGHUP)
        tools.wait_until(
            lambda words=words: any(words in mail.text for mail in world.mailbox.received), words, seconds=60
        )
        assert ssl.get_server_certificate(("127.0.0.1", port), timeout=10) == shown
    files.key.chmod(0o600)
    authority.issue("console.example.test", "127.0.0.1")
    watch.process.send_signal(signal.SIGHUP)
    tools.wait_until(
        lambda: any("OVER" in m.subject and "refused" in m.subject for m in world.mailbox.received),
        "it is over",
    )
    assert "How things stand" in look()

    key = address.rpartition("=")[2]
    watch.process.send_signal(signal.SIGTERM)
    assert watch.wait() == 0
    assert key not in watch.err + watch.out + "\n".join(world.log_lines)
