"""A database of its own for each test: the official client, the async and the generated one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from google.cloud import firestore

from tests.conformance.conftest import Server
from tests.conformance.firestore.raw import Raw, connect

InLoop = Callable[[Callable[[firestore.AsyncClient], Awaitable[Any]]], Any]


@pytest.fixture
def db(
    firestore_server: Server, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[firestore.Client]:
    """The official client on an empty default database."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_server.address)
    client = firestore.Client(project=project_id)
    yield client
    client._firestore_api.transport.close()


@pytest.fixture
def raw(firestore_server: Server, project_id: str) -> Iterator[Raw]:
    """The generated client on the same database as `db`."""
    connected = connect(firestore_server.address, project_id)
    yield connected
    connected.api.transport.close()


@pytest.fixture
def in_loop(firestore_server: Server, project_id: str, monkeypatch: pytest.MonkeyPatch) -> InLoop:
    """Run a coroutine function with the official async client of the same database as `db`."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_server.address)

    async def run(work: Callable[[firestore.AsyncClient], Awaitable[Any]]) -> Any:
        client = firestore.AsyncClient(project=project_id)
        try:
            return await work(client)
        finally:
            await client._firestore_api.transport.close()

    return lambda work: asyncio.run(run(work))
