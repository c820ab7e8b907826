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

import msgspec

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
            SetupError: nothing can be kept there.
        """
        try:
            for folder in (self.path, self.logs, self.mail):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StateTakenError(
                f"a stack already runs in {self.path}: use it, stop it with Ctrl-C where it was "
                "started, or start another with --state-dir"
            ) from error
        self._lock = lock
        # One that was killed leaves it.
        (self.path / "stack.json").unlink(missing_ok=True)

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
            NoStackError: no stack runs here, or not yet; one that was killed does not count.
            SetupError: the folder cannot be looked into.
        """
        nothing = NoStackError(f"no stack runs in {self.path}: start one with `make up`")
        try:
            lock = os.open(self.path / "lock", os.O_RDWR)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise nothing from error
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                facts: dict[str, Any] = json.loads((self.path / "stack.json").read_text())
            except FileNotFoundError as error:
                raise NoStackError(f"the stack in {self.path} is starting: try again") from error
            return facts
        finally:
            os.close(lock)
        raise nothing

    def secrets(self, wanted: Mapping[str, Secret]) -> dict[str, str]:
        """A value for each secret that can be made up: the one there is, or a new one, kept.

        A value that is not of the secret's kind, for its kind was changed, is made anew.

        Raises:
            SetupError: what was kept cannot be read.
        """
        file = self.path / "secrets.json"
        known: dict[str, str] = {}
        try:
            if file.exists():
                known = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError) as error:
            raise SetupError(f"{file} cannot be read: delete it, it is made again") from error
        values: dict[str, str] = {}
        for name, secret in wanted.items():
            if secret.kind == "external":
                continue
            value = known.get(name, "")
            # Of the two kinds one is JSON, and base64 has no brace.
            if not value or value.startswith("{") != (secret.kind == "key_set"):
                value = made_up(secret.kind, f"local-{secrets.token_hex(4)}")
            values[name] = value
        if not values.items() <= known.items():
            self._write("secrets.json", {**known, **values})
        return values

    def _unusable(self, error: OSError) -> SetupError:
        return SetupError(
            f"{self.path} cannot be a stack's folder: {error.strerror}: choose another with "
            "--state-dir"
        )

    def _write(self, name: str, content: Mapping[str, object]) -> None:
        unfinished = self.path / f"{name}.part"
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
        unfinished.rename(self.path / name)
