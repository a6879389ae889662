"""A secret never appears anywhere: planted ones are looked for in everything that the program writes."""

import base64
import http.server
import json
import signal
import threading
import urllib.request
from contextlib import contextmanager
from urllib.parse import quote

MAIL_PASSWORD = "planted-mail pass/word=9931"
MAIL_USER = "alerts"


def spellings(secret):
    """The ways in which it could slip out."""
    raw = secret.encode()
    return {
        raw,
        base64.b64encode(raw),
        base64.b64encode(b"\0" + MAIL_USER.encode() + b"\0" + raw),  # AUTH PLAIN
        quote(secret, safe="").encode(),
        json.dumps(secret)[1:-1].encode(),
        raw.hex().encode(),
    }


@contextmanager
def echo():
    """A server that answers every request with what it was sent, headers too, as proxies in debug mode do."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = f"{self.requestline}\n{self.headers}\n".encode() + body
            self.send_response(400)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_planted_secrets_are_in_nothing_that_the_program_writes(settled, tools):
    world = settled
    secrets = world.folder / "secrets"
    (secrets / "mail").touch(mode=0o600)
    (secrets / "mail").write_text(MAIL_PASSWORD)
    world.mailbox.stop_blocking()
    world.mailbox._username, world.mailbox._password = MAIL_USER, MAIL_PASSWORD
    world.mailbox.start_blocking()
    port = world.unused_port()
    options = {
        "dropbox": {"app_secret": world.team.config.app_secret},
        "mail": {"username": MAIL_USER, "password": f"file:{secrets / 'mail'}"},
        "safety": {"max_leavers": 0},
        "log": {"path": str(world.folder / "ad-connector.log"), "level": "debug"},
        "service": {"listen": f"127.0.0.1:{port}"},
    }
    said = {}

    def keep(name, done):
        said[f"{name} out"], said[f"{name} err"] = done.out.encode(), done.err.encode()
        return done

    # --- the ordinary, with everything that can be asked
    world.configure(**options)
    world.admin.modify("Ada Lovelace", sn="King")
    world.admin.remove_members("Dropbox", "Hedy Lamarr")
    assert keep("run", world("--verbose", "run")).code == -18
    file = world.folder / "plan.html"
    keep("plan", world("--verbose", "plan", "--format", "html", "--out", str(file)))
    keep("check", world("--verbose", "check", "--send-mail"))
    keep("explain", world("--verbose", "explain", "ada.lovelace@example.test", "--json"))
    keep("export", world("--verbose", "journal", "export"))

    # --- watch, with a reload
    watch = world.watch()
    for path in ("/healthz", "/readyz", "/metrics"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
            said[path] = reply.read() + str(reply.headers).encode()
    watch.process.send_signal(signal.SIGHUP)
    tools.wait_until(lambda: "configuration_reloaded" in watch.err, "it reads its configuration again")
    watch.terminate()
    said["watch out"], said["watch err"] = watch.out.encode(), watch.err.encode()

    # --- refusals whose text holds the secret
    access = world.inside(lambda: [one.value for one in world.team.tokens.access.values()])
    world.mailbox.refuse_with = f"451 4.3.0 you are not {MAIL_USER} with {MAIL_PASSWORD}"
    world.admin.remove_members("Sales Team", "Sales Europe")
    keep("mail refused", world("--verbose", "run"))
    with echo() as url:
        for name, more in (
            ("echoed refresh", {"api_url": url}),
            ("echoed token", {"api_url": url, "access_token": f"file:{secrets / 'access'}"}),
        ):
            (secrets / "access").touch(mode=0o600)
            (secrets / "access").write_text(access[-1])
            world.configure(**{**options, "dropbox": {**options["dropbox"], **more}})
            assert keep(name, world("--verbose", "run")).code in (-13, -14)
    (secrets / "ad-wrong").touch(mode=0o600)
    (secrets / "ad-wrong").write_text("planted-wrong-password-7")
    world.configure(**{**options, "directory": {"password": f"file:{secrets / 'ad-wrong'}"}})
    assert keep("wrong password", world("--verbose", "run")).code == -12
    world.config.write_text(
        world.config.read_text().replace("[mail]", '[mail]\npasswort = "planted-typo-5511"')
    )
    assert keep("broken configuration", world("--verbose", "run")).code == -10

    # --- and now everything that was written
    for file in world.folder.iterdir():
        if file.is_file() and file.name.startswith(("ad-connector", "journal", "plan", "watch-")):
            said[file.name] = file.read_bytes()
    for number, mail in enumerate(world.mailbox.received):
        said[f"mail {number}"] = mail.message.as_bytes()
        for part in mail.message.walk():
            said[f"mail {number} {part.get_content_type()}"] = part.get_payload(decode=True) or b""
    assert {"journal.db", "ad-connector.log", "mail 0"} <= set(said)
    assert len(access) >= 2
    planted = {
        "AD password": world.sandbox.facts.service_password,
        "wrong AD password": "planted-wrong-password-7",
        "app secret": world.team.config.app_secret,
        "refresh token": world.team.config.refresh_token,
        "mail password": MAIL_PASSWORD,
        "misspelt key": "planted-typo-5511",
        **{f"access token {number}": value for number, value in enumerate(access)},
    }
    found = [
        (what, where)
        for what, secret in planted.items()
        for where, content in said.items()
        for spelling in spellings(secret)
        if spelling in content
    ]
    assert found == []
    assert b"ada.lovelace@example.test" in said["ad-connector.log"], "what is no secret is found there"
