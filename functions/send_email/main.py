"""send_email: a subscriber of `user.created` that mails the new user a verification link.

    edge.py        the pushed request: what the function answers, and what it never shows
    delivery.py    the use case: claim, send, note; which failures ask for the message again
    message.py     the mail, a pure function of the event; templates/ has its texts
    transports.py  SMTP, files, console
    store.py       Firestore: deliveries, broken_messages
    settings.py    the environment variables

This file wires them. Settings are checked here, at start; clients are built by the first message.
"""

from datetime import UTC, datetime
from functools import partial

import functions_framework
from cloudevents.http import CloudEvent

from shared.documents import connect
from shared.once import Once
from shared.settings import load_or_exit

from . import edge
from .delivery import Mailer, Transport
from .message import load_templates
from .settings import SendEmailSettings
from .store import DeliveryDocuments
from .transports import ConsoleTransport, FileTransport, SmtpTransport

edge.install()
settings = load_or_exit(SendEmailSettings)


def build_transport() -> Transport:
    """The transport that the settings choose."""
    if settings.mail_transport == "file":
        return FileTransport(settings.mail_file_dir)
    if settings.mail_transport == "console":
        return ConsoleTransport()
    return SmtpTransport(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        username=settings.smtp_username,
        password=settings.smtp_password,
        timeout_seconds=settings.smtp_timeout_seconds,
    )


def build_mailer() -> Mailer:
    """The use case with its tools, on new connections."""
    client = connect(settings.project, settings.database)
    return Mailer(
        store=DeliveryDocuments(client, settings.firestore_timeout_seconds),
        transport=build_transport(),
        templates=load_templates(),
        sender=settings.mail_from,
        verify_url=settings.verify_url,
        verify_ttl_seconds=settings.verify_ttl_seconds,
        link_keys=settings.link_keys,
        lease_seconds=settings.lease_seconds,
        project=settings.project,
        now=partial(datetime.now, UTC),
    )


mailer = Once(build_mailer)


@functions_framework.cloud_event
def send_email(event: CloudEvent) -> None:
    """CloudEvent entry point: return acknowledges the message, raise has it delivered again."""
    edge.receive(event, mailer.get)
