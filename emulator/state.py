"""The folder of one stack: who holds it, where its parts are, its secrets, logs and mails.

    lock          held by the stack that runs here
    stack.json    addresses and process ids of that stack
    secrets.json  made up on the first start, kept so that tokens outlive a restart
    logs/         one file per process
    mail/         one .eml per mail

Everything is readable by its owner alone.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.errors import SetupError
from emulator.secret_values import made_up
from emulator.topology import Secret


class StateTakenError(SetupError):
    """Another stack runs in this folder."""


class NoStackError(SetupError):
    """No stack runs in this folder."""


class StateDir:
    """A stack's own folder, locked while the stack runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.mail = path / "mail"
        self._lock: int | None = None

    def take(self) -> None:
        """Make the folder and lock it for this process.

        Raises:
            StateTakenError: another stack holds it.
        """
        for folder in (self.path, self.logs, self.mail):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StateTakenError(
                f"a stack already runs in {self.path}: use it, stop it with Ctrl-C where it was "
                "started, or start another with --state-dir"
            ) from error
        self._lock = lock

    def release(self) -> None:
        """Unlock; what is in the folder stays."""
        (self.path / "stack.json").unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_stack(self, facts: Mapping[str, object]) -> None:
        """Say where the stack's parts are, for `status` and `mail`."""
        self._write("stack.json", facts)

    def read_stack(self) -> dict[str, Any]:
        """What `write_stack` said.

        Raises:
            NoStackError: no stack runs here; one that was killed does not count.
        """
        nothing = NoStackError(f"no stack runs in {self.path}: start one with `make up`")
        try:
            lock = os.open(self.path / "lock", os.O_RDWR)
        except FileNotFoundError as error:
            raise nothing from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            facts: dict[str, Any] = json.loads((self.path / "stack.json").read_text())
            return facts
        finally:
            os.close(lock)
        raise nothing

    def secrets(self, wanted: Mapping[str, Secret]) -> dict[str, str]:
        """A value for each secret that can be made up: the one there is, or a new one, kept."""
        file = self.path / "secrets.json"
        known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        values = {
            name: known.get(name) or made_up(secret.kind, f"local-{secrets.token_hex(4)}")
            for name, secret in wanted.items()
            if secret.kind != "external"
        }
        if values != known:
            self._write("secrets.json", {**known, **values})
        return values

    def _write(self, name: str, content: Mapping[str, object]) -> None:
        unfinished = self.path / f"{name}.part"
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
        unfinished.rename(self.path / name)
