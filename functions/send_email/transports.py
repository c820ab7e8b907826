"""Where mails go: an SMTP server, a directory, or the console.

SMTP (RFC 5321), what an answer means for the mail:
    2yz to its last dot                           taken
    4yz, no connection, no TLS, silence           not now
    5yz to MAIL, RCPT or DATA                     refused for good
    5yz about us: greeting, sign-in (RFC 4954)    not now; it says nothing about this mail
    silence after the last dot                    not now, and uncertain

`smtplib` bounds each read and write, so a server that drips a byte at a time could hold a worker
for ever: one timer ends the whole conversation.
"""

import smtplib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .delivery import NotNow, Refused
from .message import Mail

# Sign-in wanted, too weak, wrong, or wanted encrypted: RFC 4954 section 6.
_ABOUT_US = {530, 534, 535, 538}


@dataclass(frozen=True, slots=True)
class SmtpTransport:
    """Hands each mail to one server, over a connection of its own."""

    host: str
    port: int
    security: str
    username: str
    password: str = field(repr=False)
    timeout_seconds: float

    def send(self, mail: Mail) -> None:
        """Return when the server took the mail.

        Raises:
            NotNow: it may take it later.
            Refused: it never will.
        """
        data_begun = False
        try:
            with self._session(mail.sender.rpartition("@")[2]) as smtp:
                _expect_taken(smtp.mail(mail.sender))
                _expect_taken(smtp.rcpt(mail.recipient))
                data_begun = True
                _expect_taken(smtp.data(mail.content))
        except smtplib.SMTPDataError as error:
            raise _not_taken(error.smtp_code) from error
        except smtplib.SMTPResponseException as error:
            raise NotNow(f"smtp_{error.smtp_code}", uncertain=data_begun) from error
        except (smtplib.SMTPException, OSError) as error:
            raise NotNow(type(error).__name__, uncertain=data_begun) from error

    @contextmanager
    def _session(self, our_name: str) -> Iterator[smtplib.SMTP]:
        """A session ready for MAIL, on a connection that is cut off when the time is over."""
        tls = ssl.create_default_context()
        with _connected(self.host, self.port, self.timeout_seconds) as connection:
            at_once = tls if self.security == "tls" else None
            smtp = _Session(connection, self.host, our_name, at_once)
            try:
                if self.security == "starttls":
                    smtp.starttls(context=tls)
                smtp.ehlo_or_helo_if_needed()
                if self.username:
                    smtp.login(self.username, self.password)
                yield smtp
                # The answer to the mail is known: whatever QUIT meets changes nothing.
                with suppress(smtplib.SMTPException, OSError):
                    smtp.quit()
            finally:
                smtp.close()


class _Session(smtplib.SMTP):
    """smtplib on a connection made here, as smtplib.SMTP_SSL does it."""

    def __init__(
        self, connection: socket.socket, host: str, our_name: str, tls: ssl.SSLContext | None
    ) -> None:
        self._connection = connection
        self._tls = tls
        # A name of ours, or smtplib asks the DNS for one, and nothing bounds that.
        super().__init__(host, local_hostname=our_name)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        if self._tls is None:
            return self._connection
        return self._tls.wrap_socket(self._connection, server_hostname=host)


@contextmanager
def _connected(host: str, port: int, timeout_seconds: float) -> Iterator[socket.socket]:
    """A connection that no longer works after `timeout_seconds`, connecting included."""
    deadline = time.monotonic() + timeout_seconds
    connection = _connect(host, port, timeout_seconds)
    connection.settimeout(timeout_seconds)
    left = max(deadline - time.monotonic(), 0.0)
    # A second handle on the connection: TLS takes over the first one.
    with connection, connection.dup() as handle:
        timer = threading.Timer(left, _cut_off, [handle])
        timer.daemon = True
        timer.start()
        try:
            yield connection
        finally:
            timer.cancel()


def _connect(host: str, port: int, timeout_seconds: float) -> socket.socket:
    """A connection to the first address of `host` that answers; each has its share of the time."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    trouble = OSError("no address")
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(timeout_seconds / len(addresses))
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            trouble = error
        else:
            return connection
    raise trouble


def _cut_off(handle: socket.socket) -> None:
    with suppress(OSError):  # It is closed already: the conversation ended by itself.
        handle.shutdown(socket.SHUT_RDWR)


def _expect_taken(answer: tuple[int, bytes]) -> None:
    code, _ = answer
    if code // 100 != 2:
        raise _not_taken(code)


def _not_taken(code: int) -> Exception:
    if code // 100 == 5 and code not in _ABOUT_US:
        return Refused(f"smtp_{code}")
    return NotNow(f"smtp_{code}")


@dataclass(frozen=True, slots=True)
class FileTransport:
    """Writes each mail to a directory as `{Message-ID}.eml`; sent twice, it is one file."""

    directory: str

    def send(self, mail: Mail) -> None:
        """Write the mail, whole or not at all; raises NotNow."""
        target = Path(self.directory) / f"{mail.message_id.strip('<>')}.eml"
        part = target.with_suffix(f".{threading.get_ident()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(mail.content)
            part.replace(target)
        except OSError as error:
            raise NotNow(type(error).__name__) from error


@dataclass(frozen=True, slots=True)
class ConsoleTransport:
    """Writes each mail to stdout, address and link included: for a developer's eyes."""

    def send(self, mail: Mail) -> None:
        """Write the mail."""
        sys.stdout.write(mail.content.decode("ascii").replace("\r\n", "\n"))
        sys.stdout.flush()
