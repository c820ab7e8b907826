"""The mail server at the end of the local cloud: it takes every mail and delivers none.

1. A mail is kept as one `.eml` file, complete the moment its name appears; `Return-Path` and
   `Delivered-To` at its top are the envelope's.
2. Refusals, a server that is slow and one that is down are switches (`fail_next`, `hold`,
   `stop`), so that a test meets them over a real SMTP conversation.
"""

import asyncio
import email
import email.policy
import weakref
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, Envelope, Session

Stage = Literal["RCPT", "DATA"]


@dataclass(frozen=True)
class Mail:
    """A mail that was taken. `path` is its file; `recipients` the envelope's."""

    path: Path
    recipients: tuple[str, ...]
    message: EmailMessage = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Mail":
        """The mail in a file that a catcher wrote."""
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        recipients = tuple(str(value) for value in message.get_all("Delivered-To", []))
        return cls(path, recipients, message)

    @property
    def text(self) -> str:
        """The plain-text part; "" when there is none."""
        part = self.message.get_body(("plain",))
        return str(part.get_content()) if part else ""


def read_all(folder: Path) -> list[Mail]:
    """Every mail in the folder, the oldest first."""
    return [Mail.read(path) for path in sorted(folder.glob("*.eml"))]


@dataclass
class _Fault:
    stage: Stage
    reply: str
    times: int


class MailCatcher:
    """An SMTP server on host:port that keeps mails in `folder`."""

    def __init__(self, folder: Path, host: str, port: int) -> None:
        self.folder = folder
        self.host, self.port = host, port
        self.attempts = 0
        """How often a client began a mail, whatever came of it."""
        self._faults: list[_Fault] = []
        self._server: asyncio.Server | None = None
        self._sessions: weakref.WeakSet[SMTP] = weakref.WeakSet()
        self._arrived = asyncio.Condition()
        self._flowing = asyncio.Event()
        self._flowing.set()
        folder.mkdir(parents=True, exist_ok=True)
        self._count = len(list(folder.glob("*.eml")))

    async def start(self) -> None:
        """Listen; again after `stop`, on the same port.

        Raises:
            OSError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, self.host, self.port)

    def _session(self) -> SMTP:
        session = SMTP(self, hostname="localhost", enable_SMTPUTF8=True, ident="mail catcher")
        self._sessions.add(session)
        return session

    async def stop(self) -> None:
        """Refuse connections and drop those there are: a mail server that is down."""
        if self._server is None:
            return
        self._server.close()
        for session in self._sessions:
            if isinstance(session.transport, asyncio.Transport):
                session.transport.abort()
        await self._server.wait_closed()
        self._server = None

    def fail_next(self, reply: str, *, stage: Stage = "DATA", times: int = 1) -> None:
        """Answer the next `times` mails with `reply`, such as "451 4.3.0 try later"."""
        self._faults.append(_Fault(stage, reply, times))

    def hold(self) -> None:
        """Answer no `MAIL FROM` until `resume`: a server that hangs."""
        self._flowing.clear()

    def resume(self) -> None:
        """End `hold`."""
        self._flowing.set()

    async def wait_for_attempts(self, count: int) -> None:
        """Return once clients have begun `count` mails since the catcher was made."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.attempts >= count)

    async def _tell(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()

    def _fault(self, stage: Stage) -> str | None:
        for fault in self._faults:
            if fault.stage == stage and fault.times > 0:
                fault.times -= 1
                return fault.reply
        return None

    # aiosmtpd calls these by their names.
    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Begin a mail."""
        self.attempts += 1
        await self._tell()
        await self._flowing.wait()
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or refuse it by a fault."""
        if reply := self._fault("RCPT"):
            return reply
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep the mail, or refuse it by a fault."""
        if reply := self._fault("DATA"):
            return reply
        self._keep(envelope)
        await self._tell()
        return "250 OK: kept"

    def _keep(self, envelope: Envelope) -> None:
        content: Any = envelope.content
        trace = [f"Return-Path: <{envelope.mail_from}>"]
        trace += [f"Delivered-To: {address}" for address in envelope.rcpt_tos]
        head = "".join(f"{line}\r\n" for line in trace).encode()
        self._count += 1
        path = self.folder / f"{self._count:06d}.eml"
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(head + content)
        unfinished.rename(path)

    def mails(self, address: str | None = None) -> list[Mail]:
        """The mails taken, the oldest first; to `address` only, if given."""
        every = read_all(self.folder)
        return every if address is None else [mail for mail in every if address in mail.recipients]

    async def wait_for(self, address: str, *, count: int = 1) -> list[Mail]:
        """The mails to `address`, once there are at least `count`."""
        async with self._arrived:
            while len(found := self.mails(address)) < count:
                await self._arrived.wait()
        return found
