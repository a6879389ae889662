"""The set-up in a terminal: asks what `config.questions` decides, tests each answer, and keeps what was answered until it is saved."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from pydantic import SecretStr

from config.answers import PLACES, WRITABLE_PLACES, current, flat, meaning, reference, with_changes
from config.environment import overrides
from config.load import judge
from config.questions import Kind, Probe, Question, Topic, next_question
from config.reference import keys
from config.secrets import Secret
from config.settings import Settings
from pipeline.app.probes import groups_like, probe
from pipeline.cli.authorize import options_of, scopes_of
from pipeline.cli.check import show
from pipeline.cli.terminal import Back, Terminal
from pipeline.errors import ConfigurationError, ConnectorError, RightsError
from pipeline.model import Finding
from pipeline.redaction import register_secret
from stages.dropbox.oauth import authorization_url, exchange_code, new_code_verifier

DEFAULTS = {f"{key.section}.{key.name}".lstrip("."): key.default for key in keys()}
_PENDING = "PENDING_SECRET_OF_"
"""Until it is saved, a secret lies in the environment that the probes see: no reference of any form can be mistaken for it."""


class Wizard:
    """`values` are as TOML has them. Nothing is written before `store_secrets` and the caller's own saving."""

    def __init__(
        self, terminal: Terminal, values: Mapping[str, Any], file: Path, environ: Mapping[str, str]
    ) -> None:
        self.values = with_changes(values, {})
        self._terminal = terminal
        self._file = file.absolute()
        self._folder = file.parent
        self._environ = dict(environ)
        self._pending: dict[str, SecretStr] = {}
        self._proposed: dict[str, str] = {}
        self._granted: frozenset[str] = frozenset()  # what the token that was got here may do
        self._given = {".".join(one.path): one.name for one in overrides(environ)}

    @property
    def settings(self) -> Settings:
        """As they would be, with the secrets that are not stored yet."""
        return self._judged(self.values)[0]

    @property
    def faults(self) -> tuple[tuple[str, str], ...]:
        """Key and text of all that keeps the values from being a configuration."""
        return self._judged(self.values)[1]

    @property
    def has_secrets(self) -> bool:
        return bool(self._pending)

    def ask_about(self, topic: Topic | None) -> None:
        """All questions of a topic, or of all topics, in their order. Back where somebody goes back from the first one."""
        asked: list[Question] = []
        heading: Topic | None = None
        while question := next_question(
            self.settings, after=asked[-1] if asked else None, topic=topic, given=self._given
        ):
            if question.topic is not heading:
                self._open_topic(question.topic)
                heading = question.topic
            try:
                self.ask(question)
            except Back:
                if not asked:
                    raise
                asked.pop()
            else:
                asked.append(question)

    def ask(self, question: Question) -> None:
        """One question, until its answer is one that works or is kept all the same. Back leaves everything as it was."""
        pending = dict(self._pending)
        try:
            self._ask(question)
        except Back:
            self._pending = pending
            raise

    def _ask(self, question: Question) -> None:
        self._terminal.say()
        self._terminal.explain(question.sentence)
        for attempt in itertools.count():
            changes = self._answer(question, is_again=attempt > 0)
            if changes is None:
                continue
            values = with_changes(self.values, changes)
            settings, faults = self._judged(values)
            own = [text for key, text in faults if key.partition("[")[0] in changes]
            if own:
                for text in own:
                    self._complain(text)
                continue
            if self._passes(question, settings, faults):
                self.values = values
                return

    def store_secrets(self) -> None:
        """Writes the secrets to where the references point. ConfigurationError, RightsError."""
        settings, _ = judge(self.values, self._folder, self._environ)
        for secret in settings.secrets():
            if secret.key in self._pending:
                secret.store(self._pending[secret.key])
        self._pending.clear()

    # --- answers ----------------------------------------------------------------------------------------------

    def _answer(self, question: Question, *, is_again: bool) -> dict[str, Any] | None:
        """The keys that the person's answer sets; None where it means nothing, which has been said."""
        if question.kind is Kind.SECRET:
            return self._secret(question, is_again=is_again)
        if question.kind is Kind.TOKEN:
            return self._token(question, is_again=is_again)
        text = question.ask
        if question.choices:
            text += f" ({', '.join(question.choices)})"
        if question.kind is Kind.YES_NO:
            text += " (yes/no)"
        answer = self._terminal.ask(text, current(question, self.values, DEFAULTS))
        if question.kind is Kind.GROUP and answer.startswith("?"):
            answer = self._browse(answer[1:])
            if not answer:
                return None
        try:
            return meaning(question, answer)
        except ValueError as error:
            self._complain(str(error))
            return None

    def _browse(self, text: str) -> str:
        """The DN of the group that was picked from a list; "" for none."""
        try:
            groups, more = anyio.run(groups_like, self.settings, text)
        except ConnectorError as error:
            self._show([Finding("directory", "groups", "failed", error.cause, error.hint)])
            return ""
        if not groups:
            self._complain("no group has that in its name")
            return ""
        for number, group in enumerate(groups, 1):
            self._terminal.say(f"  {number:>2}  {group.dn}")
        if more:
            self._terminal.say("  ... and more: ?part-of-a-name shows fewer")
        picked = self._terminal.ask("Number (Enter: none of these)")
        if picked.isascii() and picked.isdigit() and 1 <= int(picked[:9]) <= len(groups):
            return groups[int(picked[:9]) - 1].dn
        if picked:
            self._complain("that is no number of the list")
        return ""

    def _secret(self, question: Question, *, is_again: bool) -> dict[str, Any] | None:
        known = self._reference_of(question.key)
        if (
            known is not None
            and not is_again
            and self._terminal.ask_yes(f"{question.ask}: keep {known.describe()}", default=True)
        ):
            return {question.key: flat(self.values)[question.key]}
        chosen = self._place(question)
        if chosen is None:
            return None
        if not chosen.startswith(("file:", "keyring:")) or self._is_there(question.key, chosen):
            self._pending.pop(question.key, None)
            return {question.key: chosen}
        value = self._terminal.ask_hidden(question.ask)
        if not value or not value.isprintable():
            self._complain("it is empty, or holds control characters")
            return None
        self._hold(question.key, value)
        return {question.key: chosen}

    def _token(self, question: Question, *, is_again: bool) -> dict[str, Any] | None:
        known = self._reference_of(question.key)
        if (
            known is not None
            and not is_again
            and _resolves(known)
            and not self._terminal.ask_yes(
                f"A token is there ({self._place_of(question.key)}); get a new one",
                default=bool(self._granted) and not self._granted.issuperset(scopes_of(self.settings)),
            )
        ):
            return {question.key: self._place_of(question.key)}
        chosen = self._place(question)
        if chosen is None:
            return None
        if self._is_there(question.key, chosen):
            return {question.key: chosen}
        while not self._token_got(question.key):
            pass
        return {question.key: chosen}

    def _token_got(self, key: str) -> bool:
        """One approval in the browser: whether it led to a token, or was put off."""
        settings = self.settings
        options, verifier = options_of(settings.dropbox), new_code_verifier()
        url = authorization_url(options, verifier, scopes=scopes_of(settings))
        self._terminal.say("Open this address as an admin of the team, approve the app, and copy the code:")
        self._terminal.say_address(url)
        code = self._terminal.ask("Code (Enter: later, with `ad-connector authorize`)")
        if not code:
            return True
        try:
            grant = anyio.run(exchange_code, options, code, verifier)
        except ConnectorError as error:
            hint = _CODE_HINT if "invalid_grant" in error.cause else error.hint
            self._show([Finding("dropbox", "code", "failed", error.cause, hint)])
            return False
        self._granted = frozenset(grant.scopes)
        self._hold(key, grant.refresh_token)
        return True

    def _place(self, question: Question) -> str | None:
        places = WRITABLE_PLACES if question.kind is Kind.TOKEN else PLACES
        known = self._reference_of(question.key)
        earlier = known.describe() if known is not None and known.scheme in places else places[0]
        last_scheme, _, last_name = self._proposed.get(question.key, earlier).partition(":")
        place = self._terminal.ask(f"{question.ask}: where is it kept ({', '.join(places)})", last_scheme)
        try:
            proposed = reference(place, question.key)
            scheme, _, name = proposed.partition(":")
            if scheme == last_scheme:
                name = last_name or name
            chosen = reference(scheme, question.key, self._terminal.ask(_NAMES[scheme], name))
            secret = Secret.parse(question.key, chosen, self._folder, self._environ)
            secret.demand_place()
            if not self._may_lie_in(secret):
                return None
        except ValueError as error:
            self._complain(str(error))
            return None
        except ConnectorError as error:
            hint = (
                "" if error.hint == ConfigurationError.default_hint else error.hint
            )  # which is to come here
            self._show([Finding(question.topic.value, "place", "failed", error.cause, hint)])
            return None
        self._proposed[question.key] = chosen
        return chosen

    def _may_lie_in(self, secret: Secret) -> bool:
        """No file is overwritten that holds something else; why not has been said."""
        file = secret.file
        settings = self.settings
        taken = {
            settings.log.path: "the log",
            settings.journal.path: "the journal",
            self._file: "the configuration",
        }
        taken |= {
            one.file: one.key for one in settings.secrets() if one.key != secret.key and one.file is not None
        }
        if file in taken:
            self._complain(f"{file} is for {taken[file]}: name another file")
            return False
        if not self._is_foreign(secret):
            return True
        if self._terminal.ask_yes(f"{file} is there already: use what is in it", default=True):
            return True
        self._complain("name another file: what is in this one is not overwritten")
        return False

    def _is_foreign(self, secret: Secret) -> bool:
        """Whether it names a file that is there, and that no earlier answer or set-up made for it."""
        known = self._reference_of(secret.key)
        return (
            secret.file is not None and secret.file.exists() and (known is None or known.file != secret.file)
        )

    def _is_there(self, key: str, chosen: str) -> bool:
        """Whether the secret itself is not asked for: its file is there, and was taken as it is."""
        return self._is_foreign(Secret.parse(key, chosen, self._folder, self._environ))

    # --- what is known ----------------------------------------------------------------------------------------

    def _hold(self, key: str, value: str) -> None:
        register_secret(value)
        self._pending[key] = SecretStr(value)

    def _reference_of(self, key: str) -> Secret | None:
        """The secret as configured by now; None where it only has its default."""
        if key not in flat(self.values) and key != "dropbox.refresh_token":
            return None
        return next(secret for secret in self.settings.secrets() if secret.key == key)

    def _place_of(self, key: str) -> str:
        return str({**DEFAULTS, **flat(self.values)}[key])

    def _judged(self, values: Mapping[str, Any]) -> tuple[Settings, tuple[tuple[str, str], ...]]:
        held = {f"{_PENDING}{key}": value.get_secret_value() for key, value in self._pending.items()}
        seen = with_changes(values, {key: f"env:{_PENDING}{key}" for key in self._pending})
        return judge(seen, self._folder, {**self._environ, **held})

    # --- tests ------------------------------------------------------------------------------------------------

    def _passes(self, question: Question, settings: Settings, faults: Sequence[tuple[str, str]]) -> bool:
        """Whether the answer may stand: the test found nothing, or the person keeps it all the same."""
        kind = _due(question, settings, faults)
        if not kind:
            return True
        secret = next((one for one in settings.secrets() if one.key == question.key), None)
        if secret is not None:
            try:
                secret.resolve()
            except RightsError as error:
                self._show([Finding(question.topic.value, "secret", "failed", error.cause, error.hint)])
                return self._terminal.ask_keep()
            except ConnectorError:
                self._show([_absent(question, secret)])
                return True
        group = settings.groups.sync_group if question.topic is Topic.GROUPS else settings.users.sync_group
        with self._terminal.console.status("testing ..."):
            findings = anyio.run(partial(probe, kind, settings, group))
        self._show(findings)
        if all(finding.state != "failed" for finding in findings):
            return True
        return self._terminal.ask_keep()

    def _show(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            show(self._terminal.console, finding)

    def _complain(self, text: str) -> None:
        self._terminal.say(text, style="yellow")

    def _open_topic(self, topic: Topic) -> None:
        self._terminal.say()
        self._terminal.say(topic.heading, style="bold")
        for key, name in self._given.items():
            if key.partition(".")[0] == topic.value:
                self._terminal.say(f"{key} is set by the environment variable {name}: not asked for")


_CODE_HINT = (
    "a code is good once, for a few minutes, and for the address that was shown last: open the one below, "
    "approve again, and copy the whole code"
)

_NAMES = {
    "file": "File (relative: from the configuration's folder)",
    "keyring": "Entry of the keyring, as SERVICE/NAME",
    "env": "Name of the environment variable",
    "systemd": "Name of the credential",
}


def _due(question: Question, settings: Settings, faults: Sequence[tuple[str, str]]) -> Probe:
    """The test that is due after this answer: mail is not tried with an encryption that is still to be chosen."""
    if question.key == "mail.port" and any(key == "mail.security" for key, _ in faults):
        return Probe.NONE
    if question.key == "mail.username" and settings.mail.username:
        return Probe.NONE  # the password comes next
    if question.key == "directory.username" and settings.directory.auth == "simple":
        return Probe.NONE  # likewise
    if question.topic is Topic.GROUPS and question.kind is Kind.CHOICE:
        return Probe.NONE
    return question.probe


def _resolves(secret: Secret) -> bool:
    try:
        secret.resolve()
    except ConnectorError:
        return False
    return True


def _absent(question: Question, secret: Secret) -> Finding:
    """A place that is right may be empty here: an environment or a credential that only the service gets."""
    hint = (
        "run `ad-connector authorize`"
        if question.kind is Kind.TOKEN
        else "put it there before the first pass"
    )
    if secret.scheme == "systemd":
        hint = f"the unit needs LoadCredential={secret.describe().partition(':')[2]}:PATH"
    return Finding(
        question.topic.value,
        question.ask.lower(),
        "warning",
        f"{secret.describe()} holds nothing that can be read here and now, so it can't be tested",
        hint,
    )
