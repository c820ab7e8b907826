"""What each command does with a stack: up, demo, run, status, doctor.

Each takes `show`, which prints a line, and gives back an exit code.
"""

import asyncio
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from emulator import gcloud
from emulator.errors import SetupError
from emulator.stack import Stack, StackSettings
from emulator.state import StateDir

Show = Callable[[str], None]
DEFAULT_STATE_DIR = ".emulator"


def _up(stack: Stack, began: float) -> str:
    took = time.perf_counter() - began
    return f"up in {took:.1f} s: backend {stack.choice.backend} ({stack.choice.reason})"


def _short(path: str | Path) -> str:
    """The path as one would type it here."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else str(path)


def _folder(stack: Stack) -> str:
    short = _short(stack.state.path)
    return "" if short == DEFAULT_STATE_DIR else f"--state-dir {shlex.quote(short)} "


def _curl_lines(stack: Stack) -> list[str]:
    """A line to paste for each function that has an example."""
    return [
        f"curl -sS {process.url} -H 'Content-Type: application/json' \\\n"
        f"      -d {shlex.quote(json.dumps(dict(process.function.example)))}"
        for process in stack.functions.values()
        if process.function.example
    ]


async def up(settings: StackSettings, show: Show) -> int:
    """Run the stack, its merged log on the screen, until cancelled."""
    began = time.perf_counter()
    show("starting the local cloud ...")
    async with Stack(settings) as stack:
        lines = [_up(stack, began), "Ctrl-C stops it.", ""]
        lines += [f"  {name}={value}" for name, value in stack.environment().items()]
        for curl in _curl_lines(stack):
            lines += ["", "Paste this in another terminal:", "", f"  {curl}"]
        lines += ["", f"  {_short(sys.executable)} -m emulator mail {_folder(stack)}show", ""]
        for line in lines:
            show(line)
        await asyncio.Event().wait()
    return 0


@contextmanager
def own_folder(settings: StackSettings, *, keep: bool) -> Iterator[StackSettings]:
    """The settings with a new folder that is removed at the end; unchanged with `keep`."""
    if keep:
        yield settings
        return
    folder = Path(tempfile.mkdtemp(prefix="local-cloud-"))
    try:
        yield replace(settings, state_dir=folder)
    finally:
        shutil.rmtree(folder)


async def demo(settings: StackSettings, show: Show, *, name: str, email: str, as_json: bool) -> int:
    """Start a stack, sign one person up, show each step to the delivered mail, stop."""
    from emulator.demo import DemoFailedError
    from emulator.demo import demo as play

    began = time.perf_counter()
    say: Show = (lambda _line: None) if as_json else show
    say("starting the local cloud ...")
    async with Stack(settings) as stack:
        started = time.perf_counter() - began
        say(_up(stack, began))
        try:
            story = await play(stack, name=name, email=email, show=say)
        except DemoFailedError as error:
            logs = "\n".join(
                f"--- {path.stem}\n{path.read_text()}" for path in stack.state.logs.glob("*.log")
            )
            raise SetupError(f"the demo failed: {error}\n{logs}") from error
        if as_json:
            facts = {"backend": stack.choice.backend, "start_seconds": round(started, 3)}
            show(json.dumps({"ok": True, **facts, **asdict(story)}))
        say(f"\nDelivered: {name} signed up and has mail, {story.seconds['mail']:.3f} s later.")
    return 0


async def run(settings: StackSettings, command: Sequence[str]) -> int:
    """Run `command` with a stack around it; its exit code, 128 + N for a signal N."""
    async with Stack(settings) as stack:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **stack.environment()}
            )
        except OSError as error:
            raise SetupError(f"{command[0]} cannot be run: {error}") from error
        stack.guard(process.pid)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            # Ctrl-C reached the command too; a TERM to us did not.
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()
            raise
    return code if code >= 0 else 128 - code


def status(state: StateDir, show: Show, *, as_json: bool) -> int:
    """Show the stack that runs in the folder: its addresses and what each process uses."""
    facts = state.read_stack()
    processes: list[dict[str, Any]] = []
    for process in [own := psutil.Process(facts["pid"]), *own.children(recursive=True)]:
        try:
            words = process.cmdline()
            used = process.memory_info().rss
        except psutil.Error:
            continue  # it ended while we looked
        label = next((n for n, pid in facts["function_pids"].items() if pid == process.pid), "")
        label = label or " ".join(Path(word).name for word in words[:4])
        processes.append({"pid": process.pid, "what": label, "memory_bytes": used})
    if as_json:
        show(json.dumps({**facts, "processes": processes}))
        return 0
    show(f"up: backend {facts['backend']}, project {facts['project']}, in {facts['state_dir']}")
    for name, value in facts["environment"].items():
        show(f"  {name}={value}")
    for row in processes:
        show(f"  {row['pid']:>8}  {row['memory_bytes'] / 1e6:6.0f} MB  {row['what']}")
    return 0


def doctor(show: Show, *, as_json: bool) -> int:
    """Show what is installed, what is missing and how to get it; 0 when a stack can run."""
    found = gcloud.find()
    missing = found.missing()
    rows = {
        "python": {"found": sys.executable, "version": platform.python_version()},
        "gcloud": {"found": str(found.sdk or ""), "version": ""},
        "java": {"found": str(found.java or ""), "version": _java_version(found.java)},
        "pubsub": {"found": str(found.pubsub_jar or ""), "version": found.pubsub_version},
        "firestore": {
            "found": str(found.firestore_jar or ""),
            "version": found.firestore_version,
        },
    }
    auto = "gcloud" if not missing else "embedded"
    if as_json:
        show(json.dumps({"parts": rows, "missing": missing, "auto": auto}))
        return 0
    for part, row in rows.items():
        what = f"{row['found']} {row['version']}" if row["found"] else f"missing: {missing[part]}"
        show(f"  {'ok' if row['found'] else '--'}  {part:<10} {what}")
    show(f"\n--backend auto takes: {auto}. The embedded backend needs Python alone.")
    return 0


def _java_version(java: Path | None) -> str:
    if java is None:
        return ""
    asked = subprocess.run(  # noqa: S603 - the user's own Java, no shell
        [java, "-version"], capture_output=True, text=True, check=False
    )
    return (asked.stderr.splitlines() or [""])[0]
