"""An embedded Firestore with Google's own client on it, for tests over the wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from emulator.firestore.server import FirestoreOptions, FirestoreServer


@contextlib.asynccontextmanager
async def serving(options: FirestoreOptions | None = None) -> AsyncIterator[FirestoreServer]:
    """A server, with the environment telling clients where it is; closed whatever happens."""
    server = await FirestoreServer.start(options=options)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FIRESTORE_EMULATOR_HOST", server.address)
            yield server
    finally:
        await server.close()


def with_client(
    work: Callable[[firestore.Client], Any], options: FirestoreOptions | None = None
) -> Any:
    """Start a server, do the work in a thread with a client of it, close both."""

    def working() -> Any:
        client = firestore.Client(project="p", credentials=AnonymousCredentials())
        try:
            return work(client)
        finally:
            client.close()

    async def main() -> Any:
        async with serving(options):
            return await asyncio.to_thread(working)

    return asyncio.run(main())
