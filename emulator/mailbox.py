"""The caught mails for a person or a script: list, show, wait.

They are read from the stack's folder, so it works beside a running stack and after it.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import watchfiles

from emulator.errors import SetupError
from emulator.smtp import Mail, read_all

Show = Callable[[str], None]


def as_facts(mail: Mail) -> dict[str, object]:
    """{"id", "to", "subject", "date", "message_id", "text"} of a mail."""
    message = mail.message
    return {
        "id": int(mail.path.stem),
        "to": list(mail.recipients),
        "subject": str(message["Subject"]),
        "date": str(message["Date"]),
        "message_id": str(message["Message-ID"]),
        "text": mail.text,
    }


def _show_one(mail: Mail, show: Show, *, as_json: bool) -> None:
    if as_json:
        show(json.dumps(as_facts(mail)))
        return
    for name, value in mail.message.items():
        show(f"{name}: {value}")
    show("")
    show(mail.text)


def list_mails(folder: Path, show: Show, *, as_json: bool) -> int:
    """One line a mail, the oldest first."""
    for mail in read_all(folder):
        facts = as_facts(mail)
        to = ", ".join(mail.recipients)
        show(json.dumps(facts) if as_json else f"{facts['id']:>4}  {to:<32}  {facts['subject']}")
    return 0


def show_mail(folder: Path, which: int | None, show: Show, *, as_json: bool) -> int:
    """One mail whole: number `which` of the list, or the newest.

    Raises:
        SetupError: there is no such mail.
    """
    mails = read_all(folder)
    chosen = [mail for mail in mails if which is None or int(mail.path.stem) == which]
    if not chosen:
        wanted = "no mail yet" if which is None else f"no mail number {which}"
        raise SetupError(f"{wanted} in {folder}; {len(mails)} there")
    _show_one(chosen[-1], show, as_json=as_json)
    return 0


async def wait_for_mail(
    folder: Path, address: str, show: Show, *, timeout_seconds: float, as_json: bool
) -> int:
    """Show the newest mail to `address`, waiting for one to come.

    Raises:
        SetupError: none came within `timeout_seconds`.
    """

    def newest() -> Mail | None:
        return next((m for m in reversed(read_all(folder)) if address in m.recipients), None)

    async def arrival() -> Mail:
        # The watcher says once a second that nothing changed, which covers a mail that came
        # between our look and its start.
        if found := newest():
            return found
        async for _ in watchfiles.awatch(folder, step=20, rust_timeout=1000, yield_on_timeout=True):
            if found := newest():
                return found
        raise SetupError(f"{folder} is gone")

    try:
        mail = await asyncio.wait_for(arrival(), timeout_seconds)
    except TimeoutError as error:
        raise SetupError(f"no mail to {address} within {timeout_seconds:g} s") from error
    _show_one(mail, show, as_json=as_json)
    return 0
