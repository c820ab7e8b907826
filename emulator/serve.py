"""One emulator alone: `python -m emulator pubsub` and `... firestore`, for any project.

What it prints first is its address, for PUBSUB_EMULATOR_HOST or FIRESTORE_EMULATOR_HOST.
It serves until it is cancelled.
"""

import asyncio
import gc
import json
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
) -> int:
    """Serve until cancelled, or standard input ends; `show` takes each line to print."""
    port = Ports(settings.host).take(settings.port, f"the {service} emulator")
    async with Leash() as leash:
        server = await backends.start(
            service,
            backend,
            replace(settings, port=port),
            leash=leash,
            sink=lambda line: print(line, file=sys.stderr),  # noqa: T201 - the server's own log
        )
        # What was imported stays, and what is stored is no garbage: looking at either again and
        # again costs a loaded server a quarter of its speed (measured on batches of publishes).
        gc.freeze()
        gc.set_threshold(20_000, 10, 20)
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
        try:
            await (_stdin_closed() if until_stdin_closes else asyncio.Event().wait())
        finally:
            await server.close()
    return 0
