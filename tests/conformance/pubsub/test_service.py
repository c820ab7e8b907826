"""The service itself: IAM policies, health, reflection, reset."""

import grpc
import pytest
import requests
from google.api_core.exceptions import NotFound
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.conformance.features import feature
from tests.conformance.pubsub.conftest import Pubsub

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
    embedded="NOT_FOUND: the official Python packages carry no descriptors of services",
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
