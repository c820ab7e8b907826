"""SMTP over TLS: with a certificate that is trusted, and not with one that is not."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from send_email.delivery import NotNow
from send_email.message import Mail
from send_email.transports import SmtpTransport

MAIL = Mail("<e-1@example.com>", "no-reply@example.com", "ada@example.com", b"Subject: x\r\n\r\n")


class Catcher:
    """Keeps what arrives, and whether it came encrypted."""

    def __init__(self) -> None:
        self.arrived: list[tuple[list[str], bool, bool]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        encrypted = server.transport.get_extra_info("sslcontext") is not None
        self.arrived.append((envelope.rcpt_tos, encrypted, bool(session.authenticated)))
        return "250 ok"


def authenticate(*arguments: object) -> AuthResult:
    """Whoever knows the password."""
    return AuthResult(success=getattr(arguments[-1], "password", b"") == b"hunter2")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    )
    return folder / "cert.pem", folder / "key.pem"


Serve = Callable[[str], tuple[int, Catcher]]


@pytest.fixture
def serve(certificate: tuple[Path, Path]) -> Iterator[Serve]:
    """`serve(security)`: the port of a server that insists on it, and what it caught."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    servers: list[asyncio.Server] = []

    async def start(security: str, catcher: Catcher) -> int:
        begun = {"tls_context": context, "require_starttls": True, "auth_require_tls": True}
        options = begun if security == "starttls" else {"auth_require_tls": False}
        server = await loop.create_server(
            lambda: SMTP(catcher, authenticator=authenticate, loop=loop, **options),
            "127.0.0.1",
            0,
            ssl=context if security == "tls" else None,
        )
        servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def start_here(security: str) -> tuple[int, Catcher]:
        catcher = Catcher()
        return asyncio.run_coroutine_threadsafe(start(security, catcher), loop).result(10), catcher

    async def stop() -> None:
        for server in servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    yield start_here
    asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_encrypted_and_signed_in(
    serve: Serve,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    security: str,
) -> None:
    """STARTTLS on the submission port, TLS from the first byte on the other."""
    port, catcher = serve(security)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    SmtpTransport("127.0.0.1", port, security, "us", "hunter2", 10).send(MAIL)
    assert catcher.arrived == [(["ada@example.com"], True, True)]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_is_not_trusted_gets_neither_password_nor_mail(
    serve: Serve, security: str
) -> None:
    """A configuration fault: not now, so that no mail is lost to it."""
    port, catcher = serve(security)
    with pytest.raises(NotNow, match="SSLCertVerificationError"):
        SmtpTransport("127.0.0.1", port, security, "us", "hunter2", 10).send(MAIL)
    assert catcher.arrived == []
