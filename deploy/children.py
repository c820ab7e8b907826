"""Runs a program to its end, and leaves none behind.

1. A child has a session of its own: a terminal's Ctrl-C reaches us alone, and we pass one
   signal on to the whole group, once. terraform must not get it twice: the second time it ends
   without releasing the lock of its state.
2. A cancelled `run` signals the child and returns when it has ended, however long that takes.
   Nothing between the start of a child and the wait for it can be interrupted.
3. What a child is given to read is never shown, nor what it prints when it is captured.

Source: https://developer.hashicorp.com/terraform/internals/graceful-shutdown
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import UnmetError


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended; what it printed is empty where it was shown instead."""

    code: int
    out: str
    err: str


def _start(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, *, fed: bool, shown: bool
) -> "subprocess.Popen[str]":
    output = None if shown else subprocess.PIPE
    try:
        return subprocess.Popen(  # noqa: S603 - a list without a shell, of our own making
            argv,
            env={**os.environ, **env},
            cwd=cwd,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise UnmetError(f"{argv[0]} is not on PATH", f"install {argv[0]}") from error
    except OSError as error:
        found = f"{argv[0]} cannot be run: {error.strerror}"
        raise UnmetError(found, f"look at what PATH has as {argv[0]}") from error


async def run(
    argv: Sequence[str],
    *,
    stop: signal.Signals,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    shown: bool = False,
) -> Ended:
    """Run `argv` to its end; `env` is added to ours, `stop` ends it when we are cancelled.

    `shown` gives it our standard output and error instead of capturing both.

    Raises:
        UnmetError: it cannot be started.
    """
    child = _start(argv, env or {}, cwd, fed=stdin is not None, shown=shown)
    ended = asyncio.get_running_loop().run_in_executor(None, child.communicate, stdin)
    try:
        out, err = await asyncio.shield(ended)
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):  # it ended by itself in this moment
            os.killpg(child.pid, stop)
        await ended
        raise
    return Ended(child.returncode, out or "", err or "")
