"""SMTP verdicts, against a server that says exactly what it is told to."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from send_email.delivery import NotNow, Refused
from send_email.message import Mail
from send_email.transports import ConsoleTransport, FileTransport, SmtpTransport

MAIL = Mail(
    "<e-1.verify_email@example.com>",
    "no-reply@example.com",
    "ada@example.com",
    b"Subject: x\r\n\r\n.a line with a dot\r\n",
)
SILENCE = ""


class Server:
    """One SMTP conversation: `answers` replaces what is said at a step; SILENCE hangs up."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.heard: list[str] = []
        self.data = ""
        self.socket = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def serve(self) -> None:
        connection, _ = self.socket.accept()
        with connection, connection.makefile("rw", newline="\r\n", encoding="ascii") as stream:

            def say(step: str, usual: str) -> bool:
                answer = self.answers.get(step, usual)
                stream.write(f"{answer}\r\n" if answer else "")
                stream.flush()
                return bool(answer)

            if not say("GREETING", "220 ready"):
                return
            for line in stream:
                verb = line.split()[0].upper()
                self.heard.append(verb)
                if verb == "DATA" and self.answers.get("DATA", "354").startswith("354"):
                    say("DATA", "354 go on")
                    for content in stream:
                        if content == ".\r\n":
                            break
                        self.data += content
                    verb = "DOT"
                if not say(verb, "221 bye" if verb == "QUIT" else "250 ok") or verb == "QUIT":
                    return


@contextmanager
def serving(answers: dict[str, str]) -> Iterator[Server]:
    server = Server(answers)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        thread.join(timeout=10)
        server.socket.close()
        assert not thread.is_alive()


def transport(port: int, seconds: float = 5, **changes: str) -> SmtpTransport:
    settings = {"security": "none", "username": "", "password": ""} | changes
    return SmtpTransport("127.0.0.1", port, timeout_seconds=seconds, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("accepted", ["250 ok", "251 will forward", "252 perhaps", "200 fine"])
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DOT"])
def test_any_2xx_is_success(step: str, accepted: str) -> None:
    """RFC 5321: the first digit decides."""
    with serving({step: accepted}) as server:
        transport(server.port).send(MAIL)
    assert server.heard[-1] == "QUIT"


def test_the_content_arrives_as_it_was_built() -> None:
    """Leading dots doubled on the wire, lines ended by CR LF."""
    with serving({}) as server:
        transport(server.port).send(MAIL)
    assert server.data == "Subject: x\r\n\r\n..a line with a dot\r\n"


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("code", [550, 552, 554])
def test_5yz_about_the_mail_is_final(step: str, code: int) -> None:
    """At whichever step."""
    with serving({step: f"{code} no"}) as server, pytest.raises(Refused, match=f"smtp_{code}"):
        transport(server.port).send(MAIL)


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("code", [421, 450, 451, 452])
def test_4yz_is_not_now(step: str, code: int) -> None:
    """And certainly not taken."""
    with serving({step: f"{code} later"}) as server, pytest.raises(NotNow) as caught:
        transport(server.port).send(MAIL)
    assert (caught.value.error_class, caught.value.uncertain) == (f"smtp_{code}", False)


@pytest.mark.parametrize(
    ("answers", "options"),
    [
        ({"GREETING": "554 go away"}, {}),
        ({"EHLO": "550 no", "HELO": "550 no"}, {}),
        ({"MAIL": "530 sign in first"}, {}),
        ({}, {"username": "us", "password": "x"}),
        ({}, {"security": "starttls"}),
        (
            {"EHLO": "250-x\r\n250 AUTH PLAIN", "AUTH": "535 wrong"},
            {"username": "us", "password": "x"},
        ),
    ],
    ids=["greeting", "hello", "530", "no AUTH", "no STARTTLS", "535"],
)
def test_trouble_about_us_says_nothing_about_the_mail(
    answers: dict[str, str], options: dict[str, str]
) -> None:
    """A wrong password must not lose everyone's mail: not now."""
    with serving(answers) as server, pytest.raises(NotNow) as caught:
        transport(server.port, **options).send(MAIL)
    assert not caught.value.uncertain
    assert "MAIL" not in server.heard or "MAIL" in answers


@pytest.mark.parametrize(
    ("step", "uncertain"),
    [("GREETING", False), ("EHLO", False), ("MAIL", False), ("RCPT", False), ("DOT", True)],
)
def test_a_hang_up_is_uncertain_only_after_the_content(step: str, uncertain: bool) -> None:
    """Before it nothing can have been taken."""
    with serving({step: SILENCE}) as server, pytest.raises(NotNow) as caught:
        transport(server.port).send(MAIL)
    assert caught.value.uncertain is uncertain


def test_a_hang_up_at_quit_changes_nothing() -> None:
    """The mail was taken."""
    with serving({"QUIT": SILENCE}) as server:
        transport(server.port).send(MAIL)
    assert server.heard[-1] == "QUIT"


def dripping(connection: socket.socket) -> None:
    """A greeting that never ends, a byte every 20 ms."""
    try:
        while True:
            connection.sendall(b"2")
            time.sleep(0.02)
    except OSError:
        return  # Cut off: what this server is for.


def silent(connection: socket.socket) -> None:
    """Nothing at all, until the other side gives up."""
    connection.recv(1)


@pytest.mark.parametrize("behaviour", [dripping, silent], ids=lambda f: f.__name__)
@pytest.mark.parametrize("security", ["none", "tls"])
def test_the_whole_conversation_is_bounded(
    behaviour: Callable[[socket.socket], None], security: str
) -> None:
    """Each read of a dripping server is quick; together they would never end."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                behaviour(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        with pytest.raises(NotNow) as caught:
            transport(server.getsockname()[1], 0.3, security=security).send(MAIL)
        assert time.monotonic() - started < 2
        assert not caught.value.uncertain
        thread.join(timeout=10)


def test_nobody_there_is_not_now() -> None:
    """A refused connection."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(NotNow, match="ConnectionRefusedError"):
            transport(unused.getsockname()[1]).send(MAIL)


def test_an_unknown_host_is_not_now() -> None:
    """DNS may know it tomorrow."""
    with pytest.raises(NotNow, match="gaierror"):
        SmtpTransport("host.invalid", 25, "none", "", "", 1).send(MAIL)


def test_the_password_is_not_in_the_repr() -> None:
    """It may end up in a log."""
    assert "hunter2" not in repr(transport(25, username="us", password="hunter2"))


def test_a_mail_is_one_file_however_often_it_is_sent(tmp_path: Path) -> None:
    """Named by its Message-ID; no half-written file is left."""
    for _ in range(2):
        FileTransport(str(tmp_path / "out")).send(MAIL)
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == "e-1.verify_email@example.com.eml"
    assert file.read_bytes() == MAIL.content


def test_a_directory_that_cannot_be_written_is_not_now(tmp_path: Path) -> None:
    """A full disk may be emptied."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotNow):
        FileTransport(str(tmp_path / "file")).send(MAIL)


def test_the_console_shows_the_mail(capsys: pytest.CaptureFixture[str]) -> None:
    """As text."""
    ConsoleTransport().send(MAIL)
    assert capsys.readouterr().out == "Subject: x\n\n.a line with a dot\n"
