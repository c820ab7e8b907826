"""The mail, as a pure function of the event: every retry builds the same bytes.

Rules:
1. Nothing a user typed reaches a header but the address, whose shape `events.decode` has checked.
   A display name in To would: CPython 3.11's email package decodes `=?utf-8?q?=0D=0ABcc:...?=` in
   it and writes the line end out, and loses its quotes when it folds it, so that a comma in it
   makes a second recipient. Both observed; fuzzing it found no end, leaving it out did.
2. In the greeting a name is cleaned, never trusted: line ends, U+2028 and control characters
   become spaces. What cannot be a name leaves a greeting without one.
3. The HTML part is autoescaped; a name is data in both templates and never a template.
4. Message-ID, Date and MIME boundary come from the event: a mail sent twice is one mail twice,
   and a reader's program may drop the second.
"""

import unicodedata
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from shared.events import UserCreated

TEMPLATE = "verify_email"
SUBJECT = "Confirm your email address"
NAME_LENGTH = 100
# The format characters that names need: Persian and Indic spelling, and emoji.
_JOINERS = "\u200c\u200d"
# ASCII on the wire: no server needs 8BITMIME for it, and none re-encodes it.
_POLICY = SMTP.clone(cte_type="7bit")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail ready to send: the envelope and the content in wire format."""

    message_id: str
    sender: str
    recipient: str
    content: bytes


def load_templates() -> Environment:
    """The templates beside this file; an unknown variable is an error, not a gap."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )


def clean_name(name: str) -> str:
    """What can be shown of a name on one line; perhaps nothing."""
    visible = (c if c in _JOINERS or unicodedata.category(c)[0] not in "CZ" else " " for c in name)
    return " ".join("".join(visible).split())[:NAME_LENGTH].strip()


def message_id(event: UserCreated, sender: Address) -> str:
    """The Message-ID of the event's mail, with angle brackets."""
    return f"<{event.event_id}.{TEMPLATE}@{sender.domain}>"


def build(
    templates: Environment, event: UserCreated, sender: Address, link: str, hours: int
) -> Mail:
    """The mail that asks the new user to confirm the address; `hours` is the link's life."""
    name = clean_name(event.name)
    local_part, _, domain = event.email.rpartition("@")
    values = {"name": name, "link": link, "hours": hours}

    mail = EmailMessage(policy=_POLICY)
    mail["From"] = sender
    mail["To"] = Address(username=local_part, domain=domain)
    mail["Subject"] = SUBJECT
    mail["Date"] = event.created_time
    mail["Message-ID"] = message_id(event, sender)
    # RFC 3834: no vacation notice answers this.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(templates.get_template(f"{TEMPLATE}.txt").render(values))
    mail.add_alternative(templates.get_template(f"{TEMPLATE}.html").render(values), subtype="html")
    mail.set_boundary(f"=_{event.event_id}")
    return Mail(message_id(event, sender), sender.addr_spec, event.email, mail.as_bytes())


def link(url: str, token: str) -> str:
    """The verification page with a token."""
    return f"{url}?token={quote(token, safe='')}"
