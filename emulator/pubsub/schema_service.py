"""google.pubsub.v1.SchemaService: requests translated for the registry, and back.

Every method destructures its request, makes one call of `SchemaRegistry` and builds the
reply. Time and revision ids (8 hexadecimal digits, like production's) enter here.

The Publisher's servicer takes `schema_settings` of a topic through `settings_from_pb` and
gives them back through `settings_to_pb`.

Source: google/pubsub/v1/schema.proto, as installed with google-cloud-pubsub.
"""

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf import empty_pb2

from emulator.clock import Clock
from emulator.errors import InvalidArgument
from emulator.message_types import import_types
from emulator.pubsub.schemas import (
    Encoding,
    SchemaRegistry,
    SchemaRevision,
    SchemaSettings,
    SchemaSource,
    SchemaType,
)
from emulator.wire import Context, Rpc, Service

(types,) = import_types("google.pubsub_v1", "types")

_SchemaPb = types.Schema.pb()
_SettingsPb = types.SchemaSettings.pb()
_ListSchemasPb = types.ListSchemasResponse.pb()
_ListRevisionsPb = types.ListSchemaRevisionsResponse.pb()
_ValidateSchemaPb = types.ValidateSchemaResponse.pb()
_ValidateMessagePb = types.ValidateMessageResponse.pb()
_BASIC = int(types.SchemaView.BASIC)
_FULL = int(types.SchemaView.FULL)


def new_revision_id() -> str:
    """Eight random hexadecimal digits."""
    return secrets.token_hex(4)


def settings_from_pb(settings: Any) -> SchemaSettings:
    """Settings of a topic, from a `google.pubsub.v1.SchemaSettings`.

    Raises:
        InvalidArgument: there is no encoding in them.
    """
    return SchemaSettings(
        settings.schema,
        _encoding(settings.encoding, "schema_settings.encoding"),
        settings.first_revision_id,
        settings.last_revision_id,
    )


def settings_to_pb(settings: SchemaSettings) -> Any:
    """The `google.pubsub.v1.SchemaSettings` of a topic."""
    return _SettingsPb(
        schema=settings.schema,
        encoding=settings.encoding.value,
        first_revision_id=settings.first_revision_id,
        last_revision_id=settings.last_revision_id,
    )


def _encoding(number: int, field: str) -> Encoding:
    try:
        return Encoding(number)
    except ValueError as error:
        raise InvalidArgument(f"{field}: must be JSON or BINARY.") from error


def _source(schema: Any) -> SchemaSource:
    try:
        kind = SchemaType(schema.type_)  # so named by proto-plus; the wire knows numbers
    except ValueError as error:
        raise InvalidArgument("schema.type: must be AVRO or PROTOCOL_BUFFER.") from error
    if not schema.HasField("compiled_proto_schema"):
        return SchemaSource(kind, schema.definition)
    if kind is not SchemaType.PROTOCOL_BUFFER:
        raise InvalidArgument("schema.compiled_proto_schema: type must be PROTOCOL_BUFFER.")
    compiled = schema.compiled_proto_schema
    return SchemaSource(kind, schema.definition, compiled.root_message, compiled.compiled_bytes)


def _to_pb(revision: SchemaRevision, view: int = _FULL) -> Any:
    seconds, micros = divmod(revision.revision_create_us, 1_000_000)
    source = revision.source
    reply = _SchemaPb(name=revision.name, type_=source.type.value, revision_id=revision.revision_id)
    reply.revision_create_time.seconds = seconds
    reply.revision_create_time.nanos = micros * 1000
    if view == _FULL:
        reply.definition = source.definition
        if source.compiled_bytes:
            reply.compiled_proto_schema.root_message = source.root_message
            reply.compiled_proto_schema.compiled_bytes = source.compiled_bytes
    return reply


def _all_to_pb(revisions: Iterable[SchemaRevision], view: int) -> list[Any]:
    # "If not set, returns Schemas with `name` and `type`, but not `definition`."
    return [_to_pb(revision, view or _BASIC) for revision in revisions]


class _Servicer:
    def __init__(
        self,
        registry: SchemaRegistry,
        clock: Clock,
        revision_id: Callable[[], str],
        on_deleted: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._revision_id = revision_id
        self._on_deleted = on_deleted

    def create(self, request: Any, _context: Context) -> Any:
        revision = self._registry.create(
            request.parent,
            request.schema_id,
            _source(request.schema),
            revision_id=self._revision_id(),
            now_us=self._clock.now_us(),
        )
        return _to_pb(revision)

    def get(self, request: Any, _context: Context) -> Any:
        return _to_pb(self._registry.get(request.name), request.view or _FULL)

    def list_schemas(self, request: Any, _context: Context) -> Any:
        schemas, token = self._registry.list_schemas(
            request.parent, request.page_size, request.page_token
        )
        return _ListSchemasPb(schemas=_all_to_pb(schemas, request.view), next_page_token=token)

    def list_revisions(self, request: Any, _context: Context) -> Any:
        schemas, token = self._registry.list_revisions(
            request.name, request.page_size, request.page_token
        )
        return _ListRevisionsPb(schemas=_all_to_pb(schemas, request.view), next_page_token=token)

    def commit(self, request: Any, _context: Context) -> Any:
        revision = self._registry.commit(
            request.name,
            _source(request.schema),
            revision_id=self._revision_id(),
            now_us=self._clock.now_us(),
        )
        return _to_pb(revision)

    def rollback(self, request: Any, _context: Context) -> Any:
        revision = self._registry.rollback(
            request.name,
            request.revision_id,
            revision_id=self._revision_id(),
            now_us=self._clock.now_us(),
        )
        return _to_pb(revision)

    def delete_revision(self, request: Any, _context: Context) -> Any:
        return _to_pb(self._registry.delete_revision(request.name, request.revision_id))

    def delete(self, request: Any, _context: Context) -> empty_pb2.Empty:
        self._registry.delete(request.name)
        self._on_deleted(request.name)
        return empty_pb2.Empty()

    def validate_schema(self, request: Any, _context: Context) -> Any:
        self._registry.validate(_source(request.schema))
        return _ValidateSchemaPb()

    def validate_message(self, request: Any, _context: Context) -> Any:
        if request.WhichOneof("schema_spec") == "name":
            compiled = self._registry.get(request.name).compiled
        else:
            compiled = self._registry.validate(_source(request.schema))
        compiled.check(request.message, _encoding(request.encoding, "encoding"))
        return _ValidateMessagePb()


def schema_service(
    registry: SchemaRegistry,
    clock: Clock,
    *,
    revision_id: Callable[[], str] = new_revision_id,
    on_deleted: Callable[[str], None] = lambda _name: None,
) -> Service:
    """SchemaService over `registry`; `on_deleted(name)` is told of each deleted schema."""
    answer = _Servicer(registry, clock, revision_id, on_deleted)
    one = _SchemaPb
    empty = empty_pb2.Empty
    rpcs = {
        "CreateSchema": Rpc(types.CreateSchemaRequest.pb(), one, answer.create),
        "GetSchema": Rpc(types.GetSchemaRequest.pb(), one, answer.get),
        "ListSchemas": Rpc(types.ListSchemasRequest.pb(), _ListSchemasPb, answer.list_schemas),
        "ListSchemaRevisions": Rpc(
            types.ListSchemaRevisionsRequest.pb(), _ListRevisionsPb, answer.list_revisions
        ),
        "CommitSchema": Rpc(types.CommitSchemaRequest.pb(), one, answer.commit),
        "RollbackSchema": Rpc(types.RollbackSchemaRequest.pb(), one, answer.rollback),
        "DeleteSchemaRevision": Rpc(
            types.DeleteSchemaRevisionRequest.pb(), one, answer.delete_revision
        ),
        "DeleteSchema": Rpc(types.DeleteSchemaRequest.pb(), empty, answer.delete),
        "ValidateSchema": Rpc(
            types.ValidateSchemaRequest.pb(), _ValidateSchemaPb, answer.validate_schema
        ),
        "ValidateMessage": Rpc(
            types.ValidateMessageRequest.pb(), _ValidateMessagePb, answer.validate_message
        ),
    }
    return Service("google.pubsub.v1.SchemaService", rpcs)
