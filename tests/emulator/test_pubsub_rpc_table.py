"""Every RPC that the installed client can call is answered, or refused with a reason."""

import asyncio
import importlib.resources
import json

from emulator.clock import ManualClock
from emulator.pubsub.runtime import PubSubOptions, Runtime
from emulator.pubsub.server import services
from emulator.wire import Service


def _services() -> dict[str, Service]:
    async def build() -> dict[str, Service]:
        runtime = Runtime(ManualClock(), PubSubOptions())
        return {service.name: service for service in services(runtime)}

    return asyncio.run(build())


def test_every_rpc_of_the_installed_client_is_in_a_table():
    """gapic_metadata.json lists what the client can call; each is served or has a reason."""
    text = importlib.resources.files("google.pubsub_v1").joinpath("gapic_metadata.json").read_text()
    tables = _services()
    for name, content in json.loads(text)["services"].items():
        service = tables[f"google.pubsub.v1.{name}"]
        known = set(service.rpcs) | set(service.unsupported)
        assert set(content["clients"]["grpc"]["rpcs"]) == known, name
        assert all(service.unsupported.values())


def test_iam_is_served():
    """The three RPCs of google.iam.v1 that Pub/Sub's clients mix in are served."""
    assert set(_services()["google.iam.v1.IAMPolicy"].rpcs) == {
        "SetIamPolicy",
        "GetIamPolicy",
        "TestIamPermissions",
    }
