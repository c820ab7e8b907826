"""Processes that cannot outlive the stack.

1. Every process started here is in one process group, whose leader is a watchdog that holds
   the read end of a pipe from us. When we end, however we end, the pipe closes and the
   watchdog kills the whole group, itself included. SIGKILL to us is the case it exists for.
2. A terminal's Ctrl-C does not reach that group: `Leash.close()` stops each process in turn.
3. What a process prints is read line by line and handed on; a process whose output nobody
   reads would block.

Ending Google's `gcloud` wrapper leaves its JVM on the port (observed: gcloud 528), so
nothing here goes through a wrapper.
"""

import asyncio
import random
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from emulator.errors import SetupError

Sink = Callable[[str], None]
"""Takes one line of output, without its newline."""

# Reads "PID\n" lines (processes outside the group to kill too) until the pipe closes.
_WATCHDOG = """
import os, signal, sys
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
print("ready", flush=True)
pids = [int(line) for line in sys.stdin]
for pid in pids:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
os.killpg(0, signal.SIGKILL)
"""

# Below the ports the kernel lends to outgoing connections, so that none of those takes one
# between our choice and the server's bind.
_PORTS = range(20_000, 32_768)
_MAX_LINE_BYTES = 1024 * 1024


class PortTakenError(SetupError):
    """A port asked for by number is in use."""


class HostError(SetupError):
    """Nothing can listen on a host, whatever the port."""


def _refused(host: str, port: int) -> OSError | None:
    """Why nothing can listen there; None if something can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


class Ports:
    """Hands out ports of one host, each once.

    Raises:
        HostError: the host is no address of this machine.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        if refused := _refused(host, 0):
            raise HostError(
                f"{host} is not an IPv4 address of this machine ({refused.strerror}): "
                "127.0.0.1 is one, 0.0.0.0 is all of them"
            )
        self.host = host
        self._given: set[int] = set()

    def take(self, wanted: int = 0, what: str = "a server") -> int:
        """`wanted` if it is free, or for 0 any free port.

        Raises:
            PortTakenError: `wanted` is in use.
        """
        if wanted:
            if wanted in self._given or _refused(self.host, wanted):
                raise PortTakenError(
                    f"port {wanted} on {self.host}, asked for by {what}, is in use: "
                    "stop what uses it, or choose another (0 takes any free one)"
                )
            self._given.add(wanted)
            return wanted
        for port in random.sample(_PORTS, k=1000):
            if port not in self._given and not _refused(self.host, port):
                self._given.add(port)
                return port
        raise PortTakenError(f"no free port between {_PORTS.start} and {_PORTS.stop} for {what}")


class Child:
    """A running process of the stack."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, sink: Sink) -> None:
        self.name = name
        self.pid = process.pid
        self.last_lines: list[str] = []
        self._process = process
        self._reader = asyncio.create_task(self._read(sink), name=f"output of {name}")

    async def _read(self, sink: Sink) -> None:
        stream = self._process.stdout
        if stream is None:
            raise ValueError("a child is started with its output piped")
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the buffer; the stream has dropped it
                sink(f"(a line over {_MAX_LINE_BYTES} bytes was left out)")
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self.last_lines = [*self.last_lines[-19:], text]
            sink(text)

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """The exit code, once it has ended and all it printed was read."""
        code = await self._process.wait()
        await asyncio.shield(self._reader)  # others wait for it too: our cancellation is not theirs
        return code

    def tree(self) -> list[psutil.Process]:
        """The process and all below it that live."""
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.pid)
            return [top, *top.children(recursive=True)]
        return []

    async def kill(self) -> None:
        """SIGKILL the process and all below it: the fault, not the shutdown."""
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await self.wait()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """SIGTERM, and SIGKILL for what still lives after `grace_seconds`."""
        if not self.running:
            await self._reader
            return
        tree = self.tree()
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace_seconds)
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await self.wait()


class NotReadyError(SetupError):
    """A process ended, or did not answer in time; the message holds what it printed."""


async def wait_for_http(child: Child, url: str, seconds: float) -> None:
    """Return once `url` answers HTTP with any status, as a sign that `child` serves.

    Raises:
        NotReadyError: the child ended first, or `seconds` passed.
    """
    import aiohttp  # 10 MB and 0.1 s that a lone embedded server does without

    async def answered() -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(url):
                        return
                except aiohttp.ClientError:
                    # Nothing tells when another process begins to listen: ask again.
                    await asyncio.sleep(0.02)

    ready = asyncio.create_task(answered())
    ended = asyncio.create_task(child.wait())
    try:
        await asyncio.wait({ready, ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            await ready
            return
        why = "ended" if ended.done() else f"did not answer {url} within {seconds:.0f} s"
    finally:
        ready.cancel()
        ended.cancel()
    printed = "\n".join(child.last_lines) or "(it printed nothing)"
    raise NotReadyError(f"{child.name} {why}:\n{printed}")


class Leash:
    """Starts processes that end when we do; the watchdog comes with the first of them."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._watchdog: asyncio.subprocess.Process | None = None
        self._one_watchdog = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def _group(self) -> int:
        """The process group that the watchdog leads."""
        async with self._one_watchdog:
            if self._watchdog is None:
                self._watchdog = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", "-c", _WATCHDOG),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    process_group=0,
                )
                if self._watchdog.stdout is None or not await self._watchdog.stdout.readline():
                    raise RuntimeError("the watchdog against leftover processes did not start")
            return self._watchdog.pid

    async def spawn(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        sink: Sink,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Child:
        """Start `argv`; each line it prints, on either stream, goes to `sink`."""
        process = await asyncio.create_subprocess_exec(
            *map(str, argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            process_group=await self._group(),
            limit=_MAX_LINE_BYTES,
        )
        child = Child(name, process, sink)
        self._children = [c for c in self._children if c.running] + [child]
        return child

    def guard(self, pid: int) -> None:
        """Kill `pid` too if we end without `close()`; for a process of the user's terminal."""
        if self._watchdog is None or self._watchdog.stdin is None:
            raise RuntimeError("guard() before the first spawn()")
        self._watchdog.stdin.write(f"{pid}\n".encode())

    async def close(self) -> None:
        """Stop every process, the last started first; nothing of the group is left."""
        await asyncio.gather(*(child.stop() for child in reversed(self._children)))
        self._children.clear()
        if self._watchdog is not None:
            with suppress(ProcessLookupError):
                self._watchdog.kill()
            await self._watchdog.wait()
            self._watchdog = None
