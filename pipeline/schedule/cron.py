"""A line for cron, in the form of /etc/cron.d (crontab(5)): local time, with the account in it."""

from __future__ import annotations

import shlex

from pipeline.schedule.job import MARK, Artefact, Daily, Every, Job, Timetable

FOLDER = "/etc/cron.d"


def artefacts(job: Job) -> tuple[Artefact, ...]:
    """The file of a job. ValueError where cron can't express its times."""
    off = "" if job.enabled else "# disabled: "
    text = f"""\
# {MARK}.
SHELL=/bin/sh
{off}{line(job, with_user=True)}
"""
    return (Artefact(f"{FOLDER}/{job.name}", text),)


def line(job: Job, *, with_user: bool) -> str:
    """The line by itself. A second instance ends with -19 by itself: never two passes at once."""
    when = "@reboot" if job.timetable is None else _when(job.timetable)
    # What is written before the log can be opened must not be lost, nor all the rest be mailed by cron.
    command = f"{shlex.join(job.argv)} 2>&1 | logger -t {shlex.quote(job.name)}"
    # In crontab(5) % is a line's end.
    escaped = command.replace("%", "\\%")
    return " ".join(filter(None, (when, (job.user or "root") if with_user else "", escaped)))


def _when(timetable: Timetable) -> str:
    if isinstance(timetable, Daily):
        return f"{timetable.minute} {timetable.hour} * * *"
    return _repeated(timetable)


def _repeated(timetable: Every) -> str:
    hours, minutes = divmod(timetable.minutes, 60)
    if not minutes and 24 % hours == 0:
        return "0 0 * * *" if hours == 24 else f"0 */{hours} * * *" if hours > 1 else "0 * * * *"
    if not hours and 60 % minutes == 0:
        return f"*/{minutes} * * * *" if minutes > 1 else "* * * * *"
    raise ValueError(
        f"cron can't say '{timetable}': take a span that divides an hour or a day evenly, such as 30m, 2h or 3h"
    )
