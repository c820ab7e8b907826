"""Protocol buffer schemas: compiled by the real compiler, messages checked by the real runtime.

1. A definition has exactly one top-level type, a message, and no imports. A compiled
   FileDescriptorSet may have imports that it contains; it names its root message.
2. BINARY: what a parser would keep as an unknown field is refused, at any depth (observed on
   production); required fields must be set.
3. JSON: protobuf's JSON mapping, both spellings of a field; unknown fields are refused.
4. Between revisions optional fields may come and go, no others, and a field number never
   changes its name, type or label. Nested messages follow the same rules.

proto2, proto3 and editions, as the compiler of `grpcio-tools` knows them. Sources:
https://cloud.google.com/pubsub/docs/schemas ("you must define only one top-level type. Import
statements ... are not supported"), https://cloud.google.com/pubsub/docs/commit-schema-revision
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from grpc_tools import _protoc_compiler, protoc

from emulator.errors import InvalidArgument
from emulator.pubsub.schemas import CompiledSchema, Encoding, SchemaSource

_FILE = "schema.proto"
_KINDS: dict[int, str] = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()
}


def _compile(definition: str) -> descriptor_pb2.FileDescriptorProto:
    """The descriptor of a text.

    Raises:
        InvalidArgument: what the compiler says, with line and column.
    """
    with tempfile.TemporaryDirectory(prefix="schema-") as folder:
        (Path(folder) / _FILE).write_text(definition, encoding="utf-8")
        try:  # this entry gives the errors as values; the next one prints them
            _protoc_compiler.get_protos(_FILE.encode(), [folder.encode()])
        except _protoc_compiler.ProtocErrors as errors:
            raise _unparsable("; ".join(_told(errors.errors()))) from errors
        output = Path(folder) / "set"
        arguments = ["protoc", f"-I{folder}", f"--descriptor_set_out={output}", _FILE]
        if protoc.main(arguments) != 0:
            raise _unparsable("the compiler refuses it")
        files = descriptor_pb2.FileDescriptorSet()
        files.ParseFromString(output.read_bytes())
    return files.file[0]


def _told(errors: Iterable[BaseException]) -> list[str]:
    told = []
    for error in errors:
        _, line, column, text = error.args  # (file, line, column, message), counted from 0
        told.append(f"line {line + 1}, column {column + 1}: {text.decode()}")
    return told


def _unparsable(reason: str) -> InvalidArgument:
    return InvalidArgument(f"Could not parse schema definition: {reason}")


def _from_text(definition: str) -> Descriptor:
    file = _compile(definition)
    types = [each.name for each in file.message_type] + [each.name for each in file.enum_type]
    if file.dependency:
        raise _unparsable(f"import of {file.dependency[0]!r}: imports are not supported")
    if len(types) != 1 or not file.message_type:
        found = ", ".join(types) or "none"
        raise _unparsable(f"there must be one top-level type, a message; found: {found}")
    name = f"{file.package}.{types[0]}".lstrip(".")
    return _root([file], name)


def _from_set(compiled_bytes: bytes, root_message: str) -> Descriptor:
    if not root_message:
        raise InvalidArgument("compiled_proto_schema.root_message must be given.")
    files = descriptor_pb2.FileDescriptorSet()
    try:
        files.ParseFromString(compiled_bytes)
    except message.DecodeError as error:
        raise _unparsable(f"compiled_bytes is not a FileDescriptorSet: {error}") from error
    return _root(files.file, root_message)


def _root(files: Iterable[descriptor_pb2.FileDescriptorProto], name: str) -> Descriptor:
    pool = descriptor_pool.DescriptorPool()
    try:
        for file in files:
            pool.AddSerializedFile(file.SerializeToString())
        return pool.FindMessageTypeByName(name)
    except (TypeError, KeyError) as error:
        raise _unparsable(str(error)) from error


class ProtobufSchema:
    """A compiled protobuf definition: `CompiledSchema` for PROTOCOL_BUFFER."""

    def __init__(self, source: SchemaSource) -> None:
        """Compile the text, or read the compiled set.

        Raises:
            InvalidArgument: it does not compile, or is not what Pub/Sub takes.
        """
        if source.compiled_bytes or source.root_message:
            if source.definition:
                raise InvalidArgument("definition and compiled_proto_schema exclude each other.")
            self._root = _from_set(source.compiled_bytes, source.root_message)
        else:
            self._root = _from_text(source.definition)
        self._class = message_factory.GetMessageClass(self._root)

    def check(self, data: bytes, encoding: Encoding) -> None:
        """Raise InvalidArgument unless `data` is one message of the schema in this encoding."""
        parsed = self._class()
        try:
            if encoding is Encoding.BINARY:
                parsed.ParseFromString(data)
            elif data.lstrip()[:1] != b"{":  # json_format takes [] for a message without fields
                raise json_format.ParseError("not a JSON object")
            else:
                json_format.Parse(data, parsed)
        except (message.DecodeError, json_format.ParseError, UnicodeDecodeError) as error:
            told = " ".join(str(error).split())  # of json_format, in several lines
            raise InvalidArgument(f"Could not parse protocol buffer message: {told}") from error
        if not parsed.IsInitialized():
            raise InvalidArgument(
                "Could not parse protocol buffer message: a required field is missing"
            )
        if encoding is Encoding.BINARY:
            size = parsed.ByteSize()
            parsed.DiscardUnknownFields()
            if parsed.ByteSize() != size:
                raise InvalidArgument(
                    "Could not parse protocol buffer message: a field that the schema does not have"
                )

    def incompatibility(self, earlier: CompiledSchema) -> str | None:
        """Why one of the two cannot stand for the other; None if each can."""
        if not isinstance(earlier, ProtobufSchema):
            return "it is of another type"
        return _fault(self._root, earlier._root, set())


def _fault(new: Descriptor, old: Descriptor, seen: set[tuple[str, str]]) -> str | None:
    """Why fields of the message `old` were changed in a way that is not allowed."""
    pair = (new.full_name, old.full_name)
    if pair in seen:
        return None
    seen.add(pair)
    new_fields, old_fields = new.fields_by_number, old.fields_by_number
    for number in sorted({*new_fields, *old_fields}):
        after, before = new_fields.get(number), old_fields.get(number)
        if after is None or before is None:
            only = after or before
            if only is not None and (only.is_required or only.is_repeated):
                what = "added" if before is None else "removed"
                return f"{only.name} is not optional and cannot be {what}"
            continue
        reason = _field_fault(after, before, seen)
        if reason is not None:
            return reason
    return None


def _field_fault(
    new: FieldDescriptor, old: FieldDescriptor, seen: set[tuple[str, str]]
) -> str | None:
    if _shape(new) != _shape(old):  # worded as production does
        return f"{_told_field(new)} is not compatible with {_told_field(old)}"
    if new.name != old.name:
        return f"{old.name} cannot be renamed to {new.name}"
    if new.message_type is not None and old.message_type is not None:
        return _fault(new.message_type, old.message_type, seen)
    if new.enum_type is not None and old.enum_type is not None:
        for number, value in old.enum_type.values_by_number.items():
            other = new.enum_type.values_by_number.get(number)
            if other is not None and other.name != value.name:
                return f"{old.enum_type.name}.{value.name} cannot be renamed to {other.name}"
    return None


def _shape(field: FieldDescriptor) -> tuple[object, ...]:
    of = field.message_type or field.enum_type
    oneof = field.containing_oneof.name if field.containing_oneof else None
    name = of.name if of is not None else None
    return field.type, name, field.is_repeated, field.is_required, oneof


def _told_field(field: FieldDescriptor) -> str:
    kind = _KINDS[field.type]
    label = "repeated " if field.is_repeated else "required " if field.is_required else ""
    return f"{field.name} of type {label}{kind}"
