"""Processes end when the stack does, however it ends."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from emulator.processes import (
    HostError,
    Leash,
    NotReadyError,
    Ports,
    PortTakenError,
    wait_for_http,
)

# Ignores TERM and has a child: the stubborn kind.
STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("up", flush=True)
signal.pause()
"""

PARENT = """
import asyncio, sys
from emulator.processes import Leash

async def main():
    async with Leash() as leash:
        up = asyncio.Event()
        child = await leash.spawn("stubborn", [sys.executable, "-c", sys.argv[1]],
                                  sink=lambda line: up.set())
        await up.wait()
        print(*[process.pid for process in child.tree()], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def _gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them end within some seconds."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    return not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_a_killed_parent_leaves_no_process() -> None:
    """SIGKILL to us takes the whole tree along, one that ignores SIGTERM too."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, STUBBORN],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as parent:
        assert parent.stdout is not None
        tree = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(tree) == 2
        parent.kill()
        assert _gone(tree)


def test_closing_stops_what_ignores_sigterm_and_its_children() -> None:
    """`close` returns with nothing left."""

    async def scenario() -> list[psutil.Process]:
        async with Leash() as leash:
            up = asyncio.Event()
            child = await leash.spawn(
                "stubborn", [sys.executable, "-c", STUBBORN], sink=lambda _line: up.set()
            )
            await up.wait()
            tree = child.tree()
            await child.stop(grace_seconds=0.1)
            return tree

    tree = asyncio.run(scenario())
    assert len(tree) == 2
    assert _gone(tree)


def test_a_process_of_the_terminal_is_killed_too_when_it_is_guarded() -> None:
    """`run -- CMD` keeps CMD in the user's process group, and still leaves nothing."""

    async def scenario() -> int:
        async with Leash() as leash:
            await leash.spawn("any", [sys.executable, "-c", ""], sink=print)
            bystander = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "import signal; signal.pause()"
            )
            leash.guard(bystander.pid)
            # What our own death does: the pipe to the watchdog closes.
            assert leash._watchdog is not None
            assert leash._watchdog.stdin is not None
            leash._watchdog.stdin.close()
            return await bystander.wait()

    assert asyncio.run(scenario()) == -signal.SIGKILL


def test_every_line_reaches_the_sink_and_a_huge_one_does_not_stop_the_rest() -> None:
    """A line over the limit is left out by name, those around it are kept."""
    lines: list[str] = []
    source = "print('first'); print('x' * 3_000_000); print('last')"

    async def scenario() -> int:
        async with Leash() as leash:
            child = await leash.spawn("talker", [sys.executable, "-c", source], sink=lines.append)
            return await child.wait()

    assert asyncio.run(scenario()) == 0
    assert lines[0] == "first"
    assert lines[-1] == "last"
    assert any("left out" in line for line in lines)


def test_what_ends_before_it_serves_is_reported_with_what_it_printed() -> None:
    """A start that fails says why at once, without waiting for the time to pass."""

    async def scenario() -> None:
        async with Leash() as leash:
            source = "print('JWT_KEYS is missing'); raise SystemExit(1)"
            child = await leash.spawn("failing", [sys.executable, "-c", source], sink=print)
            await wait_for_http(child, "http://127.0.0.1:9/", 60)

    with pytest.raises(NotReadyError, match="failing ended:\nJWT_KEYS is missing"):
        asyncio.run(scenario())


def test_a_taken_port_is_refused_with_what_to_do() -> None:
    """The error names the port, who asked, and the way out."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"{port}.*pubsub.*choose another"):
            Ports().take(port, "pubsub")


@pytest.mark.parametrize("host", ["203.0.113.1", "999.1.1.1", "::1"])
def test_a_host_that_is_not_here_is_refused_as_such(host: str) -> None:
    """An address of documentation only, none at all, IPv6: not "no free port"."""
    with pytest.raises(HostError, match=f"^{host} is not an IPv4 address of this machine"):
        Ports(host)


def test_free_ports_are_each_given_once() -> None:
    """A hundred ports are a hundred different ones."""
    ports = Ports()
    assert len({ports.take() for _ in range(100)}) == 100
