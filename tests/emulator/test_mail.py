"""The mail catcher over a real SMTP conversation, and the commands that read its mails."""

import asyncio
import json
import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator import mailbox
from emulator.errors import SetupError
from emulator.processes import Ports
from emulator.smtp import MailCatcher

MAIL = "Subject: Hello\r\nMessage-ID: <1@example.com>\r\n\r\nHow are you?\r\n"


def _send(port: int, to: str = "ada@example.com") -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.sendmail("app@example.com", [to], MAIL)


def _with_catcher(folder: Path, body: Callable[[MailCatcher], None]) -> None:
    """Run `body` in a thread while a catcher serves."""

    async def scenario() -> None:
        catcher = MailCatcher(folder, "127.0.0.1", Ports().take())
        await catcher.start()
        try:
            await asyncio.to_thread(body, catcher)
        finally:
            await catcher.stop()

    asyncio.run(scenario())


def test_a_mail_is_kept_whole_with_its_envelope(tmp_path: Path) -> None:
    """Recipients are the envelope's, not the headers'."""

    def body(catcher: MailCatcher) -> None:
        _send(catcher.port)
        (mail,) = catcher.mails("ada@example.com")
        assert mail.recipients == ("ada@example.com",)
        assert mail.message["Subject"] == "Hello"
        assert mail.text.strip() == "How are you?"
        assert catcher.mails("bob@example.com") == []

    _with_catcher(tmp_path, body)


@pytest.mark.parametrize(("stage", "code"), [("RCPT", 550), ("DATA", 451)])
def test_a_fault_refuses_as_often_as_asked(tmp_path: Path, stage: str, code: int) -> None:
    """The next mail is refused with that reply, the one after it is taken."""

    def body(catcher: MailCatcher) -> None:
        catcher.fail_next(f"{code} no", stage=stage)  # type: ignore[arg-type]
        with pytest.raises(smtplib.SMTPException) as caught:
            _send(catcher.port)
        assert str(code) in str(caught.value)
        assert catcher.mails() == []
        _send(catcher.port)
        assert len(catcher.mails()) == 1
        assert catcher.attempts == 2

    _with_catcher(tmp_path, body)


def test_a_stopped_catcher_refuses_connections_and_comes_back_on_its_port(tmp_path: Path) -> None:
    """Down and up again at the same address."""

    async def scenario() -> None:
        catcher = MailCatcher(tmp_path, "127.0.0.1", Ports().take())
        await catcher.start()
        await catcher.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(_send, catcher.port)
        await catcher.start()
        waiting = asyncio.create_task(catcher.wait_for("ada@example.com"))
        await asyncio.to_thread(_send, catcher.port)
        assert len(await waiting) == 1
        await catcher.stop()

    asyncio.run(scenario())


def test_the_commands_list_show_and_wait_for_mail(tmp_path: Path) -> None:
    """What a person or a script reads is what came."""
    lines: list[str] = []

    def body(catcher: MailCatcher) -> None:
        with pytest.raises(SetupError, match="no mail yet"):
            mailbox.show_mail(tmp_path, None, lines.append, as_json=False)
        _send(catcher.port)
        mailbox.list_mails(tmp_path, lines.append, as_json=False)
        mailbox.list_mails(tmp_path, lines.append, as_json=True)
        mailbox.show_mail(tmp_path, 1, lines.append, as_json=False)

    _with_catcher(tmp_path, body)
    assert lines[0].split() == ["1", "ada@example.com", "Hello"]
    assert json.loads(lines[1])["message_id"] == "<1@example.com>"
    assert "Subject: Hello" in lines
    with pytest.raises(SetupError, match="no mail number 7"):
        mailbox.show_mail(tmp_path, 7, lines.append, as_json=False)


def test_waiting_for_mail_ends_when_it_comes_or_when_the_time_is_over(tmp_path: Path) -> None:
    """A mail that comes while we wait is shown; none is an error that names the address."""
    lines: list[str] = []

    async def scenario() -> None:
        catcher = MailCatcher(tmp_path, "127.0.0.1", Ports().take())
        await catcher.start()
        with pytest.raises(SetupError, match=r"no mail to ada@example.com within 0\.01 s"):
            await mailbox.wait_for_mail(
                tmp_path, "ada@example.com", print, timeout_seconds=0.01, as_json=True
            )
        waiting = asyncio.create_task(
            mailbox.wait_for_mail(
                tmp_path, "ada@example.com", lines.append, timeout_seconds=30, as_json=True
            )
        )
        await asyncio.to_thread(_send, catcher.port)
        assert await waiting == 0
        await catcher.stop()

    asyncio.run(scenario())
    assert json.loads(lines[0])["to"] == ["ada@example.com"]
