"""The contract: what create_user writes, and what an older or newer reader makes of it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from grpc_tools import protoc
from hypothesis import given
from hypothesis import strategies as st

from emulator.demo import read_protobuf
from emulator.pubsub import schemas
from emulator.pubsub.schema_protobuf import ProtobufSchema
from shared import user_created_pb2
from shared.events import BrokenEvent, Encoding, Message, decode, encode
from shared.user_created_pb2 import UserCreated as Payload
from tests.unit.fakes import ENCODINGS, user_created

FUNCTIONS = Path(__file__).parents[2] / "functions"
DEFINITION = FUNCTIONS / "shared/user_created.proto"

both = pytest.mark.parametrize("encoding", ENCODINGS)


def json_event(**fields: object) -> Message:
    good = encode(user_created(), "/source", "JSON")
    return Message(json.dumps(json.loads(good.data) | fields).encode(), good.attributes)


def protobuf_event(**fields: str) -> Message:
    good = encode(user_created(), "/source", "BINARY")
    payload = Payload.FromString(good.data)
    for name, value in fields.items():
        setattr(payload, name, value)
    return Message(payload.SerializeToString(), good.attributes)


CHANGED: dict[Encoding, Callable[..., Message]] = {"JSON": json_event, "BINARY": protobuf_event}


def test_an_event_is_a_cloudevent_in_binary_mode() -> None:
    """Attributes for routing, the payload as data, nothing else in either."""
    message = encode(user_created(), "/projects/p/functions/create_user", "JSON")
    assert dict(message.attributes) == {
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-type": "user.created",
        "ce-source": "/projects/p/functions/create_user",
        "ce-subject": "u-1",
        "ce-time": "2026-01-31T09:00:00.000000Z",
        "ce-datacontenttype": "application/json",
        "ce-dataschema": "urn:signup-cloud:user.created:1.0",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    assert json.loads(message.data) == {
        "schema_version": "1.0",
        "user_id": "u-1",
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "locale": "en",
        "created_time": "2026-01-31T09:00:00.000000Z",
    }


def test_the_encodings_say_the_same() -> None:
    """Equal attributes but for the content type; the JSON is protobuf's own of that message."""
    as_json = encode(user_created(), "/source", "JSON")
    as_protobuf = encode(user_created(), "/source", "BINARY")
    content_type = {"ce-datacontenttype": "application/protobuf"}
    assert as_protobuf.attributes == as_json.attributes | content_type
    payload = Payload.FromString(as_protobuf.data)
    assert json_format.Parse(as_json.data, Payload()) == payload
    told = json_format.MessageToDict(payload, preserving_proto_field_name=True)
    assert told == json.loads(as_json.data)


@both
def test_equal_events_give_equal_bytes(encoding: Encoding) -> None:
    """So that what is published again is the same message."""
    assert encode(user_created(), "/s", encoding) == encode(user_created(), "/s", encoding)


@both
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1000))
def test_any_name_travels_unchanged(encoding: Encoding, name: str) -> None:
    """Encoding and decoding are inverse."""
    event = user_created(name=name)
    assert decode(encode(event, "/source", encoding)) == event


# --- an older reader and a newer writer -----------------------------------------------------


def newer_payload() -> Any:
    """The payload of a later minor version: a text, a list and a message more."""
    file = FileDescriptorProto()
    user_created_pb2.DESCRIPTOR.CopyToProto(file)
    (kind,) = file.message_type
    kind.nested_type.add(name="Plan").field.add(
        name="code", number=1, type=FieldDescriptorProto.TYPE_INT64
    )
    kind.field.add(name="company", number=7, type=FieldDescriptorProto.TYPE_STRING)
    repeated = FieldDescriptorProto.LABEL_REPEATED
    kind.field.add(name="tags", number=16, type=FieldDescriptorProto.TYPE_STRING, label=repeated)
    plan = FieldDescriptorProto.TYPE_MESSAGE
    kind.field.add(name="plan", number=3000, type=plan, type_name=".UserCreated.Plan")
    newer = message_factory.GetMessages([file])["UserCreated"]
    known = json.loads(encode(user_created(), "/source", "JSON").data)
    added = {"company": "Analytical Engines", "tags": ["a", "b"], "plan": {"code": 2**40}}
    return newer(**known | added | {"schema_version": "1.7"})


@both
def test_an_older_reader_reads_a_newer_minor_version(encoding: Encoding) -> None:
    """Fields it does not know are no reason to refuse."""
    payload = newer_payload()
    if encoding == "JSON":
        data = json_format.MessageToJson(payload, preserving_proto_field_name=True).encode()
    else:
        data = payload.SerializeToString()
    assert b"Analytical Engines" in data
    attributes = encode(user_created(), "/source", encoding).attributes
    assert decode(Message(data, attributes)) == user_created()


@both
@pytest.mark.parametrize("version", ["2.0", "0.9", "10.0", "1", "1.0.0", "v1.0", ""])
def test_another_major_version_is_refused(encoding: Encoding, version: str) -> None:
    """What it means is not known."""
    with pytest.raises(BrokenEvent, match="schema_version"):
        decode(CHANGED[encoding](schema_version=version))


# --- what a reader refuses, however it was written ------------------------------------------


@both
@pytest.mark.parametrize(
    "address",
    ["ADA@example.com", "a@b", "a b@example.com", "a@example.com\n", "<a@example.com>",
     "a..b@x.com", "é@example.com", "a@-x.com", "a@x-.com", ".a@x.com", "a.@x.com", "a@x..com",
     "a@@x.com"],
)  # fmt: skip
def test_only_a_plain_address_is_written_to(encoding: Encoding, address: str) -> None:
    """A reader trusts nobody, not even create_user."""
    with pytest.raises(BrokenEvent, match="email"):
        decode(CHANGED[encoding](email=address))


@both
@pytest.mark.parametrize(
    "moment", ["2026-01-31T09:00:00", "yesterday", "1999-12-31T00:00:00Z", "2100-01-01T00:00:00Z"]
)
def test_a_time_without_zone_or_century_is_refused(encoding: Encoding, moment: str) -> None:
    """Arithmetic is done with it."""
    with pytest.raises(BrokenEvent, match="created_time"):
        decode(CHANGED[encoding](created_time=moment))


@both
@pytest.mark.parametrize("field", list(Payload.DESCRIPTOR.fields_by_name))
def test_an_empty_field_is_refused(encoding: Encoding, field: str) -> None:
    """To protobuf it is a missing one, so an empty name breaks an event in JSON too."""
    with pytest.raises(BrokenEvent, match=field):
        decode(CHANGED[encoding](**{field: ""}))


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, ["1.0"]])
@pytest.mark.parametrize("field", list(Payload.DESCRIPTOR.fields_by_name))
def test_a_field_that_is_not_text_is_refused(field: str, value: object) -> None:
    """JSON has other types."""
    with pytest.raises(BrokenEvent, match=field):
        decode(json_event(**{field: value}))


@both
def test_a_reason_quotes_nothing(encoding: Encoding) -> None:
    """It is logged and stored."""
    with pytest.raises(BrokenEvent) as caught:
        decode(CHANGED[encoding](email="secret@@example.com"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "content_type",
    ["", "BINARY", "application/x-protobuf", "application/json; charset=utf-8", "text/json"],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    """No guess is made at what the bytes are."""
    good = encode(user_created(), "/source", "JSON")
    with pytest.raises(BrokenEvent, match="unknown content type"):
        decode(Message(good.data, {**good.attributes, "ce-datacontenttype": content_type}))


# --- broken protobuf ------------------------------------------------------------------------


def field(number: int, wire_type: int, content: bytes) -> bytes:
    """One field on the wire; see https://protobuf.dev/programming-guides/encoding/."""
    return bytes([number << 3 | wire_type]) + content


def broken_protobuf() -> list[bytes]:
    """Over 200 data that are no such event, each for one reason."""
    good = encode(user_created(), "/source", "BINARY").data
    made = [good[:length] for length in range(len(good))]  # cut off, or lacking the last fields
    made += [good[start:] for start in range(1, len(good) - 1)]
    made += [good + rest for rest in (
        b"\x00", b"\x07", b"\x0b", b"\x0c", b"\x3b", b"\xff" * 11, field(3, 2, b"\xff" * 10),
        field(9, 1, b"1234567"), field(9, 5, b"123"), b"\x4b" * 30_000, b" " * 66_000,
    )]  # fmt: skip
    for number in range(1, 7):
        made += [
            good + field(number, 2, content)
            for content in (b"\x00", b"\x01\xff", b"\x02\xc3\x28", b"\x03\xed\xa0\x80", b"\x7f")
        ]
        alone = b"".join(
            field(other.number, 2, bytes([len(value)]) + value.encode())
            for other, value in Payload.FromString(good).ListFields()
            if other.number != number
        )
        # Another wire type makes it an unknown field: the known one is missing.
        numbers = (field(number, 0, b"\x01"), field(number, 1, b"8" * 8), field(number, 5, b"4444"))
        made += [alone, *(alone + wrong for wrong in numbers)]
    made += [
        protobuf_event(**{name: value}).data
        for name in ("schema_version", "user_id", "email", "locale", "created_time")
        for value in ("/", " ", "..", "1.x", "a\r\nb", "\u2028", "x" * 5000, "9999-12-31T23:59:59Z")
    ]
    made += [protobuf_event(name="x" * 1001).data, b"{}", json_event().data]
    return made


def test_broken_protobuf_is_told_by_a_reason_and_nothing_else() -> None:
    """Over 200 of them: none is taken, none raises anything else."""
    attributes = encode(user_created(), "/source", "BINARY").attributes
    broken = broken_protobuf()
    assert len(broken) > 200
    reasons = set()
    for data in broken:
        with pytest.raises(BrokenEvent) as caught:
            decode(Message(data, attributes))
        reasons.add(caught.value.reason)
    assert {"data too large", "data: not the protobuf message", "email is not an address"} < reasons
    assert len(reasons) < 20, "a reason is a constant"


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_broken(data: bytes) -> None:
    """After a good event and in its place."""
    good = encode(user_created(), "/source", "BINARY")
    for each in (data, good.data + data):
        with contextlib.suppress(BrokenEvent):
            assert decode(Message(each, good.attributes)).user_id == "u-1"


def test_bad_text_is_broken_in_protobufs_pure_python_runtime_too() -> None:
    """It raises another error than the usual runtime, which has no wheel for every machine."""
    script = """if True:
        from google.protobuf.internal import api_implementation
        from shared.events import BrokenEvent, Message, decode
        assert api_implementation.Type() == "python"
        attributes = {"ce-specversion": "1.0", "ce-type": "user.created",
                      "ce-datacontenttype": "application/protobuf"}
        try:
            decode(Message(b"\\x0a\\x01\\xff", attributes))
        except BrokenEvent as broken:
            print(broken.reason)
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(FUNCTIONS),
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
    }
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("data: not the protobuf message\n", "")


# --- one definition, for the code, for Pub/Sub and for who reads along ----------------------


@pytest.mark.parametrize("suffix", [".py", ".pyi"])
def test_the_generated_code_is_that_of_the_definition(tmp_path: Path, suffix: str) -> None:
    """`make generate` after a change of either the definition or the compiler."""
    arguments = [f"-I{FUNCTIONS}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    assert protoc.main(["protoc", *arguments, str(DEFINITION)]) == 0
    generated = f"shared/user_created_pb2{suffix}"
    assert (FUNCTIONS / generated).read_text() == (tmp_path / generated).read_text()


@both
def test_the_definition_is_a_schema_that_every_event_passes(encoding: Encoding) -> None:
    """By the embedded Pub/Sub's own check, which takes one encoding and not the other."""
    source = schemas.SchemaSource(schemas.SchemaType.PROTOCOL_BUFFER, DEFINITION.read_text())
    schema = ProtobufSchema(source)
    for name in ("Ada", "Ада", "\u200dA\u0300", "'\"\\", "\0"):
        message = encode(user_created(name=name), "/source", encoding)
        schema.check(message.data, schemas.Encoding[encoding])
    (other,) = (each for each in schemas.Encoding if each.name != encoding)
    with pytest.raises(schemas.InvalidArgument):
        schema.check(message.data, other)


def test_who_has_the_definition_alone_can_read_a_binary_event() -> None:
    """As the demo does, and as a subscriber in another language would."""
    binary = encode(user_created(), "/source", "BINARY").data
    as_json = encode(user_created(), "/source", "JSON").data
    assert read_protobuf(binary, DEFINITION) == json.loads(as_json)
