"""The composition root: from settings to working parts. The only place that names concrete classes together."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from config.sections import Mail
from config.settings import Settings
from pipeline.app.collector import collect_seldom
from pipeline.app.engine import Engine
from pipeline.app.group_stage import GroupStage
from pipeline.app.parts import EngineOptions, Parts
from pipeline.app.policies import group_options_of, planner_options_of, policy_of
from pipeline.errors import ConnectorError
from pipeline.journal_port import Journal
from pipeline.log import Event, log_actions, logger, register_secret
from pipeline.model import Action
from pipeline.ports import Clock, Directory, Mailer, Team
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions
from stages.directory.poller import Poller, PollOptions
from stages.dropbox.applier import Applier, ApplierOptions
from stages.dropbox.drift import DriftWatcher
from stages.dropbox.group_applier import GroupApplier
from stages.dropbox.options import DropboxOptions
from stages.dropbox.pace import NOTHING_KNOWN, KnownPace
from stages.dropbox.reconciler import Reconciler
from stages.dropbox.settling import ActionLog
from stages.dropbox.team import HttpTeam
from stages.groups.planner import GroupPlanner
from stages.mail.notifier import Notifier
from stages.mail.options import MailOptions
from stages.mail.smtp import SmtpMailer
from stages.people.planner import Planner
from stages.service.tls import renew, server_context

Observe = Callable[[Action, str, str], None]
"""Told of an action, its outcome and the reason, as the log is."""


def directory_of(settings: Settings, clock: Clock) -> LdapDirectory:
    section = settings.directory
    # With Kerberos no password is asked for: there is none.
    password = section.password.resolve().get_secret_value() if section.auth == "simple" else ""
    register_secret(password)
    return LdapDirectory(
        DirectoryOptions(
            servers=tuple(section.servers),
            domain="" if section.servers else section.domain,  # servers win (docs/configuration.md)
            auth=section.auth,
            username=section.username,
            password=password,
            keytab=str(section.keytab or ""),
            ccache=section.ccache,
            ca_file=str(section.ca_file or ""),
            start_tls=section.start_tls,
            change_source=section.change_source,
            email_attribute=settings.users.email_attribute,
            timeout_seconds=max(1, int(section.timeout_seconds)),
            notify=section.notify,
        ),
        clock=clock,
    )


def team_of(settings: Settings, clock: Clock, *, known_pace: KnownPace = NOTHING_KNOWN) -> HttpTeam:
    """`known_pace`: what an earlier process, or client, came to."""
    section = settings.dropbox
    credentials = section.credentials()

    def plain(name: str) -> str:
        value = getattr(credentials, name)
        text: str = value.get_secret_value() if value is not None else ""
        register_secret(text)
        return text

    def keep(rotated: str) -> None:
        register_secret(rotated)
        try:
            section.keep_refresh_token(rotated)
        except ConnectorError as error:  # it is good until the end of this process
            logger().error(
                Event.TOKEN_REFRESHED, detail=f"the new refresh token could not be stored: {error}"
            )

    options = DropboxOptions(
        api_url=section.api_url,
        app_key=credentials.app_key,
        app_secret=plain("app_secret"),
        refresh_token=plain("refresh_token"),
        access_token=plain("access_token"),
        keep_refresh_token=keep,
        max_requests_per_second=section.max_requests_per_second,
        max_concurrency=section.max_concurrency,
        known_pace=known_pace,
        timeout_seconds=section.timeout_seconds,
        ca_file=str(section.ca_file or ""),
        syncs_groups=settings.groups.mode != "off",
    )
    return HttpTeam(options, clock)


def mailer_of(section: Mail) -> SmtpMailer | None:
    if not section.enabled:
        return None
    password = section.password.resolve().get_secret_value() if section.username else ""
    register_secret(password)
    return SmtpMailer(
        MailOptions(
            host=section.host,
            port=section.port,
            security=section.security,
            username=section.username,
            password=password,
            sender=section.sender,
            recipients=tuple(section.recipients),
            ca_file=str(section.ca_file or ""),
        ),
        socket.gethostname(),
    )


@dataclass(slots=True)
class Assembly:
    """An engine with what has to be closed after it."""

    engine: Engine
    parts: Parts
    directory: Directory
    settings: Settings

    async def close(self) -> None:
        self.engine.close()
        await self.directory.close()
        await self.parts.team.close()


def service_tls_of(settings: Settings) -> ssl.SSLContext | None:
    """None where `service.listen` speaks plain HTTP, on loopback. ConfigurationError."""
    section = settings.service
    if section.tls_certificate is None or section.tls_key is None:
        return None
    return server_context(section.tls_certificate, section.tls_key)


def renew_service_tls(context: ssl.SSLContext, settings: Settings) -> None:
    """The certificate's files are read again; where they can't be used, ConfigurationError and nothing changes."""
    section = settings.service
    if section.tls_certificate is not None and section.tls_key is not None:
        renew(context, section.tls_certificate, section.tls_key)


def assemble(
    settings: Settings,
    journal: Journal,
    clock: Clock,
    *,
    directory: Directory,
    team: Team,
    mailer: Mailer | None,
    simulated: bool,
    settle_alerts_seconds: float = 0,
    observe: Observe | None = None,
) -> Assembly:
    """Puts stages and engine together. A simulated pass doesn't wait for leavers to settle: it only looks twice."""
    collect_seldom()
    log = _action_log("would be " if simulated else "", observe)
    policy = policy_of(settings)
    settle = timedelta(0) if simulated else policy.leave_settle
    poller = Poller(
        directory,
        journal,
        clock,
        PollOptions(
            sync_group=settings.users.sync_group,
            exclude_group=settings.users.exclude_group,
            group_sync_group=settings.groups.sync_group if settings.groups.mode == "separate" else "",
            settle=settle,
        ),
    )
    planner = Planner(
        team,
        journal,
        clock,
        planner_options_of(settings),
    )
    applier = Applier(
        team,
        journal,
        clock,
        ApplierOptions(
            wipe_data=settings.users.wipe_data,
            send_welcome_email=settings.users.send_welcome_email,
            workers=settings.dropbox.max_concurrency,
        ),
        jitter=random.random,
        log=log,
    )
    compare_every = timedelta(hours=settings.full_comparison.every_hours)
    group_planner = GroupPlanner(team, journal, clock, group_options_of(settings), preview=planner.preview)
    group_applier = GroupApplier(
        team, journal, clock, workers=settings.dropbox.max_concurrency, jitter=random.random, log=log
    )
    groups = GroupStage(group_planner, group_applier, journal, clock, compare_every=compare_every)
    notifier = Notifier(
        mailer,
        journal,
        clock,
        repeat_hours=settings.mail.repeat_hours,
        settle_seconds=settle_alerts_seconds,
        host_name=socket.gethostname(),
        log=_log_mail,
    )
    parts = Parts(
        journal=journal,
        team=team,
        clock=clock,
        poller=poller,
        planner=planner,
        applier=applier,
        reconciler=Reconciler(team, journal, clock, external_id_format=settings.external_id.format),
        notifier=notifier,
        drift=DriftWatcher(team, journal, clock),
        groups=groups,
    )
    options = EngineOptions(
        drift_seconds=settings.dropbox.drift_poll_seconds,
        simulated=simulated,
        compare_every=compare_every,
        settle=settle,
    )
    return Assembly(Engine(parts, options), parts, directory, settings)


def _action_log(prefix: str, observe: Observe | None) -> ActionLog:
    def note(settled: Sequence[tuple[Action, str, str]]) -> None:
        log_actions(
            {
                "person": action.email or action.guid,
                "action": action.kind.value,
                "outcome": prefix + outcome,
                "reason": reason,
                "guid": action.guid,
            }
            for action, outcome, reason in settled
        )
        if observe is not None:
            for one in settled:
                observe(*one)

    return note


def _log_mail(event: str, text: str) -> None:
    if event == "mail_failed":
        logger().warning(Event.ALERT_FAILED, detail=text)
    else:
        logger().info(Event.ALERT_SENT, detail=text)
