"""One emulator alone: `python -m emulator pubsub` and `... firestore`, for any project.

What it prints first is its address, for PUBSUB_EMULATOR_HOST or FIRESTORE_EMULATOR_HOST.
It serves until it is told to stop.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace

from emulator import backends
from emulator.backends import BackendName, ServerSettings
from emulator.gcloud import ServiceName
from emulator.processes import Leash, Ports

VARIABLES: dict[ServiceName, str] = {
    "pubsub": "PUBSUB_EMULATOR_HOST",
    "firestore": "FIRESTORE_EMULATOR_HOST",
}


def stop_on_signals() -> asyncio.Event:
    """An event that SIGINT, SIGTERM and SIGHUP set, in place of ending the process."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    return stop


async def _stdin_closed() -> None:
    """Return when the other end of standard input is closed."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(65536):
        pass


async def serve(
    service: ServiceName,
    backend: BackendName,
    settings: ServerSettings,
    *,
    as_json: bool,
    until_stdin_closes: bool,
    show: Callable[[str], None],
) -> None:
    """Serve until a signal (or the end of standard input); `show` takes each line to print."""
    stop = stop_on_signals()
    port = Ports(settings.host).take(settings.port, f"the {service} emulator")
    async with Leash() as leash:
        server = await backends.start(
            service,
            backend,
            replace(settings, port=port),
            leash=leash,
            sink=lambda line: print(line, file=sys.stderr),  # noqa: T201 - the server's own log
        )
        facts = {
            "service": service,
            "backend": backend,
            "address": server.address,
            "http_address": server.http_address,
        }
        if as_json:
            show(json.dumps(facts))
        else:
            show(f"{service} ({backend}) serves on {server.address}")
            show(f"  export {VARIABLES[service]}={server.address}")
            show(f"  HTTP (reset, keys): http://{server.http_address}/")
            show("Ctrl-C stops it; nothing is kept.")
        ends: set[asyncio.Task[object]] = {asyncio.create_task(stop.wait())}
        if until_stdin_closes:
            ends.add(asyncio.create_task(_stdin_closed()))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await server.close()
