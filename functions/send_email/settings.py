"""The settings of send_email."""

import ipaddress
from dataclasses import dataclass
from email.headerregistry import Address
from urllib.parse import urlsplit

from shared.events import is_address
from shared.settings import (
    KEY_SET_SHAPE,
    KeySet,
    database_variable,
    firestore_timeout_variable,
    function_timeout_variable,
    key_set,
    matching,
    project_variable,
    seconds,
    text,
    variable,
    whole,
)

# What the email package quotes in a display name, or decodes; it loses quotes when it folds.
_SPECIALS = set('<>@,;:"()[]\\=?')


def sender(value: str) -> Address:
    """One address, with or without a display name."""
    # Not by the library's header parser: it raises IndexError for `a@`.
    name, bracket, address = text(value).rpartition("<")
    if bracket:
        address, closing = address[:-1], address[-1:]
        if closing != ">" or not _SPECIALS.isdisjoint(name):
            raise ValueError("not one address")
    if not is_address(address.lower()):
        raise ValueError("not one address")
    local_part, _, domain = address.partition("@")
    return Address(name.strip(), local_part, domain)


def page_url(value: str) -> str:
    """An https URL without query; http only where it cannot leave the machine."""
    parts = urlsplit(text(value))
    local = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise ValueError("not https")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("more than a page")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class SendEmailSettings:
    """What send_email needs."""

    project: str = project_variable()
    database: str = database_variable()
    firestore_timeout_seconds: float = firestore_timeout_variable()
    link_keys: KeySet = variable(
        "LINK_KEYS",
        key_set,
        KEY_SET_SHAPE,
        "keys of the verification links; the current one signs, all verify",
        secret=True,
    )
    verify_url: str = variable(
        "VERIFY_URL",
        page_url,
        "an https URL without query (http only for localhost)",
        "the page that the verification link opens",
    )
    verify_ttl_seconds: int = variable(
        "VERIFY_TTL_SECONDS",
        whole(3600, 2_592_000),
        "whole seconds, 3600 to 2592000",
        "life of a verification link; an event older than this is not mailed any more",
        default="172800",
    )
    mail_from: Address = variable(
        "MAIL_FROM",
        sender,
        "one address, with or without a name: Sign-up <no-reply@example.com>",
        "sender of the mails; its domain is that of the Message-ID",
    )
    mail_transport: str = variable(
        "MAIL_TRANSPORT",
        matching("smtp|file|console"),
        "smtp, file or console",
        "where mails go: a server, MAIL_FILE_DIR, or stdout",
        default="smtp",
    )
    mail_file_dir: str = variable(
        "MAIL_FILE_DIR",
        text,
        "the path of a directory",
        "where MAIL_TRANSPORT=file writes one .eml for each mail",
        default="",
    )
    smtp_host: str = variable(
        "SMTP_HOST",
        matching(r"[A-Za-z0-9.:_-]{0,253}"),
        "a host name or address",
        "the mail server of MAIL_TRANSPORT=smtp",
        default="",
    )
    smtp_port: int = variable(
        "SMTP_PORT",
        whole(1, 65_535),
        "a port, 1 to 65535",
        "its port: 587 with starttls, 465 with tls",
        default="587",
    )
    smtp_security: str = variable(
        "SMTP_SECURITY",
        matching("starttls|tls|none"),
        "starttls, tls or none",
        "encryption: begun by STARTTLS, from the first byte, or none",
        default="starttls",
    )
    smtp_username: str = variable(
        "SMTP_USERNAME",
        text,
        "text",
        "who we are to the mail server; empty: no sign-in",
        default="",
    )
    smtp_password: str = variable(
        "SMTP_PASSWORD",
        text,
        "text",
        "the password of SMTP_USERNAME",
        default="",
        secret=True,
    )
    smtp_timeout_seconds: float = variable(
        "SMTP_TIMEOUT_SECONDS",
        seconds(0.1, 300),
        "seconds, 0.1 to 300",
        "bound on one whole conversation with the mail server",
        default="20",
    )
    function_timeout_seconds: float = function_timeout_variable()
    lease_seconds: float = variable(
        "DELIVERY_LEASE_SECONDS",
        seconds(0.1, 600),
        "seconds, 0.1 to 600",
        "how long a delivery belongs to the worker that claimed it",
        default="45",
    )
    ack_deadline_seconds: float = variable(
        "ACK_DEADLINE_SECONDS",
        seconds(10, 600),
        "seconds, 10 to 600",
        "the subscription's ack deadline",
    )

    def contradictions(self) -> list[str]:
        """What is wrong with these settings together."""
        found = []
        times = (
            self.smtp_timeout_seconds,
            self.function_timeout_seconds,
            self.lease_seconds,
            self.ack_deadline_seconds,
        )
        if sorted(set(times)) != list(times):
            # A worker gives up the mail before it is stopped, is stopped before its lease ends,
            # and the lease ends before the message comes again.
            found.append(
                "SMTP_TIMEOUT_SECONDS < FUNCTION_TIMEOUT_SECONDS < DELIVERY_LEASE_SECONDS"
                " < ACK_DEADLINE_SECONDS must hold"
            )
        if self.mail_transport == "smtp" and not self.smtp_host:
            found.append("SMTP_HOST is missing: MAIL_TRANSPORT is smtp")
        if self.mail_transport == "file" and not self.mail_file_dir:
            found.append("MAIL_FILE_DIR is missing: MAIL_TRANSPORT is file")
        if bool(self.smtp_username) != bool(self.smtp_password):
            found.append("SMTP_USERNAME and SMTP_PASSWORD go together")
        in_the_clear = self.smtp_security == "none" and not _is_loopback(self.smtp_host)
        if self.smtp_username and in_the_clear:
            found.append("SMTP_SECURITY is wrong: none would send SMTP_PASSWORD in the clear")
        return found
