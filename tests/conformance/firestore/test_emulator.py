"""The emulator itself: what only a local server has, and what both leave out."""

import urllib.request

import grpc
import pytest
from google.api_core.exceptions import MethodNotImplemented, NotFound
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conformance.conftest import Server
from tests.conformance.features import feature
from tests.conformance.firestore.pages import EMULATOR, RPC
from tests.conformance.firestore.raw import OWNER, ListenStream, Raw, connect, structured, view


def clear(server: Server, database: str) -> None:
    """Ask for the end of every document, as the emulators' users do between two tests."""
    where = server.http_address or server.address
    url = f"http://{where}/emulator/v1/{database}/documents"
    request = urllib.request.Request(url, method="DELETE")
    with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - as above
        assert reply.status == 200


@feature("The clear endpoint", production=f"{EMULATOR}#clear_your_database_between_tests")
def test_clear_deletes_the_documents_of_one_database(firestore_server: Server, raw: Raw) -> None:
    """Every document of the database goes, none of another project's does."""
    other = connect(firestore_server.address, f"{raw.database.split('/')[1]}-other")
    raw.commit(raw.put("users/ann", v=1), raw.put("users/ann/mails/1", v=1))
    other.commit(other.put("users/ann", v=1))
    clear(firestore_server, raw.database)
    with pytest.raises(NotFound):
        raw.get("users/ann")
    assert not raw.query("users")[0].document.name
    assert other.get("users/ann").fields["v"].integer_value == 1
    raw.commit(raw.put("users/ann", v=2))
    other.api.transport.close()


@feature("The clear endpoint", production=f"{EMULATOR}#clear_your_database_between_tests")
def test_listener_hears_of_the_clearing(firestore_server: Server, raw: Raw) -> None:
    """A listener to a query loses its documents when the database is cleared."""
    raw.commit(raw.put("users/ann", v=1))
    with ListenStream(raw) as stream:
        stream.add_query(7, structured("users"))
        held = view(stream.until_current(7))
        view(stream.until_snapshot(), held)
        clear(firestore_server, raw.database)
        view(stream.until_snapshot(), held)
        assert held == {}


@feature("Pipelines answer UNIMPLEMENTED", production=RPC, gcloud="UNKNOWN without a text")
def test_pipeline_is_unimplemented(raw: Raw) -> None:
    """ExecutePipeline is refused by name, not accepted and ignored."""
    request = types.ExecutePipelineRequest(
        database=raw.database,
        structured_pipeline={"pipeline": {"stages": [{"name": "collection"}]}},
    )
    with pytest.raises(MethodNotImplemented):
        list(raw.api.execute_pipeline(request=request, metadata=OWNER))


@feature("Callers without credentials are served", production=EMULATOR)
def test_plain_channel_is_served(firestore_server: Server, project_id: str) -> None:
    """A client that sends no authorization reads and writes."""
    raw = connect(firestore_server.address, project_id)
    write = raw.put("users/ann", v=1)
    raw.api.commit(request=types.CommitRequest(database=raw.database, writes=[write]))
    found = raw.api.get_document(request={"name": raw.name("users/ann")})
    assert found.fields["v"].integer_value == 1
    raw.api.transport.close()


@feature(
    "BatchWrite without credentials",
    production=EMULATOR,
    gcloud="PERMISSION_DENIED without `authorization: Bearer owner`",
)
def test_batch_write_needs_no_credentials(raw: Raw) -> None:
    """BatchWrite is served like every other call."""
    write = raw.put("users/ann", v=1)
    raw.api.batch_write(request=types.BatchWriteRequest(database=raw.database, writes=[write]))
    assert raw.get("users/ann").fields["v"].integer_value == 1


@feature(
    "Health checking",
    production="https://github.com/grpc/grpc/blob/master/doc/health-checking.md",
    gcloud="no health service",
)
def test_health_service_says_serving(firestore_server: Server) -> None:
    """grpc.health.v1 answers SERVING for the whole server."""
    with grpc.insecure_channel(firestore_server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        except grpc.RpcError as error:
            pytest.fail(str(error))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


@feature("The default database has a short name", production=RPC)
def test_client_default_database(db: firestore.Client, raw: Raw) -> None:
    """The official client's default database is `(default)`."""
    db.document("users/ann").set({"v": 1})
    assert isinstance(raw.api, FirestoreClient)
    assert raw.database.endswith("/(default)")
    assert raw.get("users/ann").fields["v"].integer_value == 1
