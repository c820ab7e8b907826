"""One emulator alone: `python -m emulator pubsub` and `... firestore`, for any project.

What it prints first is its address, for PUBSUB_EMULATOR_HOST or FIRESTORE_EMULATOR_HOST.
It serves until it is cancelled.
"""

import asyncio
import gc
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from emulator import backends
from emulator.backends import BackendName, ServerSettings
from emulator.errors import InvalidArgument, SetupError
from emulator.gcloud import ServiceName
from emulator.processes import Leash, Ports

VARIABLES: dict[ServiceName, str] = {
    "pubsub": "PUBSUB_EMULATOR_HOST",
    "firestore": "FIRESTORE_EMULATOR_HOST",
}


async def _stdin_closed() -> None:
    """Return when standard input is at its end, be it a pipe, a terminal or a file.

    A thread reads it: an event loop waits for neither a file nor /dev/null.
    """
    if sys.stdin is None:  # closed before we began
        return
    source, loop, closed = sys.stdin.fileno(), asyncio.get_running_loop(), asyncio.Event()
    os.set_blocking(source, True)

    def read() -> None:
        with suppress(OSError):  # a terminal that hung up: at its end too
            while os.read(source, 65536):
                pass
        with suppress(RuntimeError):  # we are ending already, and the loop is closed
            loop.call_soon_threadsafe(closed.set)

    threading.Thread(target=read, name="standard input", daemon=True).start()
    await closed.wait()


def indexes(path: Path) -> object:
    """What a firestore.indexes.json holds, for the option `indexes` of the embedded Firestore.

    Raises:
        SetupError: it cannot be read, or says what is not known.
    """
    from emulator.firestore.index_file import definitions
    from emulator.firestore.ttl import by_group

    try:
        document = json.loads(path.read_bytes())
        by_group(definitions(document).ttl_policies)
    except OSError as error:
        raise SetupError(f"--indexes {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SetupError(
            f"--indexes {path} is not JSON (which has no comments): {error}"
        ) from error
    except InvalidArgument as error:
        raise SetupError(f"--indexes {path} is refused. {error.message}") from error
    return document


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
    ports = Ports(settings.host)
    port = ports.take(settings.port, f"the {service} emulator")
    if settings.http_port:
        ports.take(settings.http_port, f"the {service} emulator's HTTP")
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
