"""The log: one line an event, for people or for machines; nothing secret in it, no line forged.

Every line goes through here, those of libraries too: redaction first, then escaping, then the file and
standard error. `structlog` is imported with the first line written, so that commands which log nothing stay quick.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import re
import stat
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TextIO

from pipeline.errors import RightsError
from pipeline.redaction import escaped, json_safe, redacted_fields, register_secret

__all__ = [
    "Event",
    "LogOptions",
    "close",
    "configure",
    "exit_line",
    "in_pass",
    "log_actions",
    "logger",
    "register_secret",
    "shown_by",
]


class Event(StrEnum):
    """The stable words that start a line. Scripts look for them: they may be added to, not changed."""

    PASS_STARTED = "pass_started"  # noqa: S105 - "pass" is a run of the connector
    PASS_ENDED = "pass_ended"  # noqa: S105
    ACTION = "action"
    GROUP_FAILED = "group_failed"
    PERSON_SKIPPED = "person_skipped"
    CHANGES_READ = "changes_read"
    FULL_READ = "full_read"
    FULL_COMPARISON = "full_comparison"
    DRIFT_SEEN = "drift_seen"
    BRAKE_HELD = "brake_held"
    HELD_SET_APPROVED = "held_set_approved"
    LINK_MOVED = "link_moved"
    ALERT_SENT = "alert_sent"
    ALERT_FAILED = "alert_failed"
    RETRY_PLANNED = "retry_planned"
    THROTTLED = "throttled"
    CONTROL_REQUEST = "control_request"
    TOKEN_REFRESHED = "token_refreshed"  # noqa: S105 - the word for an event
    READY = "ready"
    DRAINING = "draining"
    CONFIGURATION_RELOADED = "configuration_reloaded"
    CONFIGURATION_REFUSED = "configuration_refused"
    RESTART_NEEDED = "restart_needed"
    CANARY_OVERDUE = "canary_overdue"
    FAULT = "fault"
    LIBRARY = "library"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """Where lines go. `path` None: no file. The file is turned at `max_bytes`; `backups` old ones are kept."""

    path: Path | None = None
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    to_stderr: bool = True
    max_bytes: int = 10 * 1024 * 1024
    backups: int = 5


_pass_id: ContextVar[int | None] = ContextVar("pass_id", default=None)
_screen: ContextVar[Callable[[str], None] | None] = ContextVar("screen", default=None)

_NEEDS_QUOTES = re.compile('[ "=]')
_OUTCOME_LEVELS = {"failed": "error", "retry": "warning", "held": "warning", "stale": "warning"}
_LEVELS = ("debug", "info", "warning", "error")
_LINES_A_WRITE = 100


class _Bridge(logging.Handler):
    """What libraries log through the standard library, as one of our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        line: dict[str, Any] = {
            "level": record.levelname.lower(),
            "event": Event.LIBRARY,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
        _sink.write(_sink.rendered(line, _sink.moment()))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class names it
        _complain(record)


class _Stream(logging.StreamHandler[TextIO]):
    def emit(self, record: logging.LogRecord) -> None:
        screen = _screen.get()
        if screen is None:
            super().emit(record)
            return
        with suppress(OSError, ValueError):  # as below
            screen(self.format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Standard error is gone (a closed pipe): there is nobody left to tell."""


class _File(logging.handlers.RotatingFileHandler):
    """A rotating file of mode 0600 that comes back when somebody else turned or removed it."""

    _size: int | None = None  # in bytes, as last seen; None: no regular file, which does not turn

    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._look(os.fstat(descriptor))
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.stream is not None and self._was_replaced(self.stream.fileno()):
                self.stream.close()
                self.stream = self._open()
        except OSError:
            self.handleError(record)
            return
        super().emit(record)

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802
        # The base class asks the file system three times a line.
        return bool(
            self._size is not None
            and self.maxBytes > 0
            and self._size + len(record.getMessage()) + 1 >= self.maxBytes
        )

    def _look(self, status: os.stat_result) -> None:
        self._size = status.st_size if stat.S_ISREG(status.st_mode) else None

    def doRollover(self) -> None:  # noqa: N802
        # Windows refuses to rename a file that another process has open: go on in the old one, lose no line
        with suppress(OSError):
            super().doRollover()
        if self.stream is None:
            self.stream = self._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        _complain(record)

    def _was_replaced(self, descriptor: int) -> bool:
        try:
            # os.stat, not Path: once a line
            ours, there = os.fstat(descriptor), os.stat(self.baseFilename)  # noqa: PTH116
        except FileNotFoundError:
            return True
        self._look(ours)
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)


class _Sink:
    """Where finished lines go. Until `configure`: warnings and worse, as text, to standard error."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.set_options(LogOptions(level="warning"))
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.handlers: list[logging.Handler] | None = None
        self.bridge: logging.Handler | None = None
        self.root_level = logging.WARNING
        self.logger: Any = None

    def set_options(self, options: LogOptions) -> None:
        self.options = options
        self.least = _LEVELS.index(options.level)

    def is_written(self, level: str) -> bool:
        return _LEVELS.index(level) >= self.least

    def write(self, line: str) -> None:
        """Also several lines, without the last one's end."""
        record = logging.LogRecord("ad_connector", logging.INFO, "", 0, line, None, None)
        # the default handler is made afresh: standard error may have been replaced meanwhile
        for handler in self.handlers if self.handlers is not None else [_Stream(sys.stderr)]:
            handler.handle(record)

    def moment(self) -> str:
        return self.now().astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"

    def rendered(self, line: Mapping[str, Any], moment: str) -> str:
        shown = redacted_fields(line)
        if (pass_id := _pass_id.get()) is not None:
            shown.setdefault("pass_id", pass_id)
        if self.options.format == "json":
            return _json(moment, shown)
        return _text(moment, shown)


_sink = _Sink()


def configure(
    options: LogOptions, *, stderr: TextIO | None = None, now: Callable[[], datetime] | None = None
) -> None:
    """Opens the log; an earlier one is closed. Raises RightsError (-11) where the file can't be written."""
    handlers: list[logging.Handler] = []
    if options.path is not None:
        handlers.append(_file(options.path, options))
    if options.to_stderr:
        handlers.append(_Stream(stderr or sys.stderr))
    close()
    root = logging.getLogger()
    _sink.set_options(options)
    _sink.handlers, _sink.root_level = handlers, root.level
    if now is not None:
        _sink.now = now
    _sink.bridge = _Bridge(logging.WARNING)  # what libraries say below that is for their authors
    root.addHandler(_sink.bridge)
    root.setLevel(logging.WARNING)


def close() -> None:
    """Closes the log's file and goes back to the state before `configure`."""
    if _sink.bridge is not None:
        logging.getLogger().removeHandler(_sink.bridge)
        logging.getLogger().setLevel(_sink.root_level)
    for handler in _sink.handlers or ():
        with suppress(OSError):  # a full disk keeps the last line in the buffer; it has been complained about
            handler.close()
    _sink.reset()


def logger() -> Any:
    """A structlog logger: `logger().info(Event.READY, key=value)`. Looked up afresh, it follows `configure`."""
    if _sink.logger is None:
        import structlog

        level = getattr(logging, _sink.options.level.upper())
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _finish],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=lambda *_: _Writer(),
            cache_logger_on_first_use=False,
        )
        _sink.logger = (
            structlog.get_logger().bind()
        )  # a third of a line's cost, if it were put together for each
    return _sink.logger


@contextmanager
def in_pass(pass_id: int) -> Iterator[None]:
    """Every line written inside, in tasks started inside too, carries `pass_id`."""
    token = _pass_id.set(pass_id)
    try:
        yield
    finally:
        _pass_id.reset(token)


@contextmanager
def shown_by(screen: Callable[[str], None]) -> Iterator[None]:
    """Inside, in tasks started inside too, `screen` is given the lines that standard error would get. The file gets its own."""
    token = _screen.set(screen)
    try:
        yield
    finally:
        _screen.reset(token)


def log_actions(actions: Iterable[Mapping[str, Any]]) -> None:
    """The canonical line of each, the only one about it above debug; with at least person, action, outcome and reason.

    A pass writes thousands of these: they go past structlog, and into the file in one write for many.
    """
    lines = []
    moment = _sink.moment()
    for action in actions:
        level = _OUTCOME_LEVELS.get(action["outcome"], "info")
        if _sink.is_written(level):
            lines.append(_sink.rendered({**action, "level": level, "event": Event.ACTION}, moment))
    for start in range(0, len(lines), _LINES_A_WRITE):
        _sink.write("\n".join(lines[start : start + _LINES_A_WRITE]))


def exit_line(code: int) -> None:
    """Ends a pass: a line that is exactly `exit code: N`, whatever the level (behaviour §10)."""
    if _sink.options.format == "json":
        _sink.write(json.dumps({"event": str(Event.PASS_ENDED), "exit_code": code}))
    else:
        _sink.write(f"exit code: {code}")


# --- from an event to a line ------------------------------------------------------------------------------


class _Writer:
    """What structlog calls with the finished line, by the name of the level."""

    def msg(self, line: str) -> None:
        _sink.write(line)

    debug = info = warning = error = critical = exception = log = msg


def _finish(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    line = dict(event)
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        line["exception"] = "".join(traceback.format_exception(error))
    return _sink.rendered(line, _sink.moment())


def _json(moment: str, line: dict[str, Any]) -> str:
    line = {"event": str(line.pop("event", "")), "level": line.pop("level", "info"), "at": moment, **line}
    return json_safe(json.dumps(line, ensure_ascii=False))


def _text(moment: str, line: dict[str, Any]) -> str:
    exception = line.pop("exception", None)
    pass_id = line.pop("pass_id", None)
    level, event = line.pop("level", "info"), line.pop("event", "")
    if pass_id is not None:
        line["pass_id"] = pass_id  # last: people read who and what first
    text = f"{moment} {level:<7} {escaped(str(event))}"
    for key, value in line.items():
        text += f" {_key(key)}={_quoted(value)}"
    for part in str(exception).splitlines() if exception else ():
        # indented: no text inside an exception can look like a line of its own
        text += f"\n    | {escaped(part)}"
    return text


_key = lru_cache(maxsize=200)(escaped)
"""The same few names stand in every line."""


def _quoted(value: Any) -> str:
    if type(value) is int:
        return str(value)
    if not isinstance(value, str):
        return json_safe(json.dumps(value, ensure_ascii=False))
    text = escaped(value)
    if text and _NEEDS_QUOTES.search(text) is None:
        return text
    return '"' + text.replace('"', '\\"') + '"'


# --- files ------------------------------------------------------------------------------------------------


def _file(path: Path, options: LogOptions) -> _File:
    try:
        return _File(path, maxBytes=options.max_bytes, backupCount=options.backups, encoding="utf-8")
    except OSError as error:
        hint = (
            f"create the folder {path.parent}, writable for the account that runs the connector"
            if isinstance(error, FileNotFoundError | NotADirectoryError)
            else f"make {path} writable for the account that runs the connector, or change log.path"
        )
        raise RightsError("opening the log", f"{path} can't be written: {error.strerror}", hint) from error


def _complain(_record: logging.LogRecord) -> None:
    """A line could not be written. The work goes on; the line itself is not repeated, only the reason."""
    error = sys.exc_info()[1]
    reason = error.strerror if isinstance(error, OSError) else type(error).__name__
    with suppress(OSError, ValueError):
        sys.stderr.write(f"ad-connector: the log can't be written: {reason}\n")
