"""The service itself: IAM policies, health, reflection, reset."""

import asyncio
import re
from pathlib import Path

import grpc
import grpc.aio
import pytest
import requests
from google.api_core.exceptions import NotFound
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import (
    PublisherGrpcAsyncIOTransport,
    PublisherGrpcTransport,
)
from google.pubsub_v1.services.schema_service.transports import SchemaServiceGrpcTransport
from google.pubsub_v1.services.subscriber.transports import (
    SubscriberGrpcAsyncIOTransport,
    SubscriberGrpcTransport,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.conformance.features import feature
from tests.conformance.pubsub.conftest import Pubsub, data

DOCS = "https://cloud.google.com/pubsub/docs"
IAM = f"{DOCS}/access-control"
POLICY = {"bindings": [{"role": "roles/pubsub.viewer", "members": ["user:a@example.com"]}]}


def resources(pubsub: Pubsub) -> list[str]:
    """A topic, a subscription and a snapshot."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    snapshot = pubsub.create_snapshot(name=pubsub.name("snapshots"), subscription=subscription)
    return [topic, subscription, snapshot.name]


@feature("IAM policies are stored and returned", production=IAM, gcloud="UNIMPLEMENTED")
def test_policy_reads_back(pubsub: Pubsub) -> None:
    for resource in resources(pubsub):
        pubsub.set_iam_policy(resource=resource, policy=POLICY)
        policy = pubsub.get_iam_policy(resource=resource)
        assert [b.role for b in policy.bindings] == ["roles/pubsub.viewer"]
        assert list(policy.bindings[0].members) == ["user:a@example.com"]
        assert policy.etag


@feature("A resource has an empty policy at first", production=IAM, gcloud="UNIMPLEMENTED")
def test_policy_is_empty_at_first(pubsub: Pubsub) -> None:
    assert list(pubsub.get_iam_policy(resource=pubsub.topic()).bindings) == []


@feature(
    "TestIamPermissions answers what the caller may do", production=IAM, gcloud="UNIMPLEMENTED"
)
def test_caller_may_do_everything_asked_about(pubsub: Pubsub) -> None:
    wanted = ["pubsub.topics.publish", "pubsub.topics.get"]
    answer = pubsub.test_iam_permissions(resource=pubsub.topic(), permissions=wanted)
    assert list(answer.permissions) == wanted


@feature("The policy of an unknown resource is NOT_FOUND", production=IAM, gcloud="UNIMPLEMENTED")
def test_policy_of_an_unknown_resource_is_not_found(pubsub: Pubsub) -> None:
    with pytest.raises(NotFound):
        pubsub.get_iam_policy(resource=pubsub.name("topics"))


@feature(
    "grpc.health.v1 answers SERVING",
    production="https://grpc.io/docs/guides/health-checking/",
    gcloud="no health service",
)
def test_health_is_serving(pubsub: Pubsub) -> None:
    stub = health_pb2_grpc.HealthStub(pubsub.clients.channel)
    try:
        reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    except grpc.RpcError as error:
        pytest.fail(f"{error.code()}")
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def reflect(pubsub: Pubsub, **asked: str) -> reflection_pb2.ServerReflectionResponse:
    """One answer of the reflection service."""
    stub = reflection_pb2_grpc.ServerReflectionStub(pubsub.clients.channel)
    request = reflection_pb2.ServerReflectionRequest(**asked)
    try:
        return next(iter(stub.ServerReflectionInfo(iter([request]), timeout=5)))
    except grpc.RpcError as error:
        pytest.fail(f"{error.code()}")


@feature(
    "gRPC reflection lists the services",
    production="https://grpc.io/docs/guides/reflection/",
    gcloud="no reflection service",
)
def test_reflection_lists_the_services(pubsub: Pubsub) -> None:
    answer = reflect(pubsub, list_services="")
    assert {
        "google.pubsub.v1.Publisher",
        "google.pubsub.v1.Subscriber",
        "google.pubsub.v1.SchemaService",
        "google.iam.v1.IAMPolicy",
    } <= {service.name for service in answer.list_services_response.service}


@feature(
    "gRPC reflection describes a service",
    production="https://grpc.io/docs/guides/reflection/",
    gcloud="no reflection service",
)
def test_reflection_describes_a_service(pubsub: Pubsub) -> None:
    answer = reflect(pubsub, file_containing_symbol="google.pubsub.v1.Publisher")
    files = answer.file_descriptor_response.file_descriptor_proto
    assert "Publisher" in {s.name for f in files for s in FileDescriptorProto.FromString(f).service}


@feature("POST /reset empties the server", production=f"{DOCS}/emulator")
def test_reset_empties_the_server(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic)
    answer = requests.post(f"http://{pubsub.server.http_address}/reset", timeout=5)
    assert answer.status_code == 200
    assert list(pubsub.list_topics(project=pubsub.project)) == []
    assert list(pubsub.list_subscriptions(project=pubsub.project)) == []


@feature("The generated async clients work", production=f"{DOCS}/reference/libraries")
def test_async_clients_publish_and_pull(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)

    async def publish_and_pull() -> list[bytes]:
        async with grpc.aio.insecure_channel(pubsub.server.address) as channel:
            publisher = PublisherAsyncClient(
                transport=PublisherGrpcAsyncIOTransport(channel=channel)
            )
            subscriber = SubscriberAsyncClient(
                transport=SubscriberGrpcAsyncIOTransport(channel=channel)
            )
            await publisher.publish(topic=topic, messages=[{"data": b"x"}], timeout=5)
            reply = await subscriber.pull(subscription=subscription, max_messages=1, timeout=5)
            ack_ids = [received.ack_id for received in reply.received_messages]
            await subscriber.acknowledge(subscription=subscription, ack_ids=ack_ids, timeout=5)
            return data(reply.received_messages)

    assert asyncio.run(publish_and_pull()) == [b"x"]
    assert pubsub.before(topic, subscription) == []


@feature("IAM policies are stored and returned", production=IAM, gcloud="UNIMPLEMENTED")
def test_policy_of_a_schema_reads_back(pubsub: Pubsub) -> None:
    schema = pubsub.create_schema(
        parent=pubsub.project,
        schema={"type_": "AVRO", "definition": '{"type": "record", "name": "R", "fields": []}'},
        schema_id="schema",
    )
    pubsub.set_iam_policy(resource=schema.name, policy=POLICY)
    assert pubsub.get_iam_policy(resource=schema.name).bindings[0].role == "roles/pubsub.viewer"


def test_suite_calls_every_rpc_of_the_installed_clients() -> None:
    """An RPC that a newer client brings is missed here until a test calls it."""
    transports = (PublisherGrpcTransport, SubscriberGrpcTransport, SchemaServiceGrpcTransport)
    own = {"create_channel", "close"}  # of the transport, not of the service
    rpcs = {
        name
        for transport in transports
        for name, member in vars(transport).items()
        if isinstance(member, property) and name != "grpc_channel"
    } - own
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    called = {name for name in rpcs if re.search(rf"pubsub\.{name}\b|client\.{name}\b", text)}
    called |= {name for name in rpcs if f'"{name}"' in text}
    assert rpcs - called == set()
