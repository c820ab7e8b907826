"""Avro schemas: a definition understood strictly, and messages checked against it.

1. A definition must be right by the specification where `fastavro` alone is lenient: names,
   doubled fields and union branches, unions in unions, missing parts.
2. BINARY is decoded by `fastavro`; the message must end where the value does.
3. JSON is Avro's own JSON encoding: see `schema_avro_json`. Whether two revisions can read
   each other's messages: see `schema_avro_resolution`.

Sources: https://avro.apache.org/docs/1.11.1/specification/ (Pub/Sub supports 1.11); Google's
emulator 0.8.20, which accepts trailing bytes where this refuses them.
"""

import io
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

import fastavro

from emulator.errors import InvalidArgument
from emulator.pubsub import schema_avro_json, schema_avro_resolution
from emulator.pubsub.schemas import CompiledSchema, Encoding, SchemaSource

PRIMITIVES: Final = frozenset(
    {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FULL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(eq=False)
class AvroType:
    """A node of a schema; only the attributes of its `kind` are set. Recursive types share it."""

    kind: str  # a primitive, record, enum, fixed, array, map or union
    name: str = ""  # full name of a record, enum or fixed
    aliases: tuple[str, ...] = ()  # full names
    fields: "list[AvroField]" = field(default_factory=list)
    symbols: tuple[str, ...] = ()
    has_default: bool = False  # of an enum
    size: int = 0
    items: "AvroType | None" = None  # of an array; a map's values
    branches: "list[AvroType]" = field(default_factory=list)

    @property
    def branch_name(self) -> str:
        """What names this type in a union's JSON encoding."""
        return self.name or self.kind


@dataclass(eq=False)
class AvroField:
    """A field of a record."""

    name: str
    type: AvroType
    aliases: tuple[str, ...]
    has_default: bool


class _MalformedError(Exception):
    """Why a definition is not an Avro schema."""


class _Reader:
    """Builds the tree of one definition."""

    def __init__(self) -> None:
        self._named: dict[str, AvroType] = {}

    def read(self, node: Any, namespace: str) -> AvroType:
        if isinstance(node, str):
            if node in PRIMITIVES:
                return AvroType(node)
            full = node if "." in node or not namespace else f"{namespace}.{node}"
            known = self._named.get(full) or self._named.get(node)
            if known is None:
                raise _MalformedError(f"unknown type {node!r}")
            return known
        if isinstance(node, list):
            return self._union(node, namespace)
        if not isinstance(node, dict):
            raise _MalformedError(f"{json.dumps(node)} is not a type")
        kind = node.get("type")
        if not isinstance(kind, str):
            raise _MalformedError("a type without a name in 'type'")
        if kind in ("record", "error"):
            return self._record(node, namespace)
        if kind in ("enum", "fixed"):
            return self._enum(node, namespace) if kind == "enum" else self._fixed(node, namespace)
        if kind in ("array", "map"):
            part = "items" if kind == "array" else "values"
            if part not in node:
                raise _MalformedError(f"{kind} without {part!r}")
            return AvroType(kind, items=self.read(node[part], namespace))
        if kind not in PRIMITIVES:
            raise _MalformedError(f"'type' {json.dumps(kind)} of a type")
        return AvroType(kind)  # {"type": "string"}, also with a logicalType

    def _union(self, node: list[Any], namespace: str) -> AvroType:
        branches = [self.read(branch, namespace) for branch in node]
        names = [branch.branch_name for branch in branches]
        if "union" in names:
            raise _MalformedError("a union directly in a union")
        if len(set(names)) != len(names):
            raise _MalformedError(f"a union with the same type twice: {names}")
        return AvroType("union", branches=branches)

    def _name(self, node: dict[str, Any], namespace: str) -> tuple[AvroType, str]:
        """The new named type, registered, and the namespace inside it."""
        name = node.get("name")
        if not isinstance(name, str) or not _FULL_NAME.fullmatch(name):
            raise _MalformedError(f"name {json.dumps(name)} of a {node['type']}")
        space = node.get("namespace", namespace)
        if not isinstance(space, str) or (space and not _FULL_NAME.fullmatch(space)):
            raise _MalformedError(f"namespace {json.dumps(space)}")
        full = name if "." in name or not space else f"{space}.{name}"
        if full in self._named or full in PRIMITIVES:
            raise _MalformedError(f"{full!r} is defined twice")
        inner = full.rpartition(".")[0]
        aliases = tuple(
            alias if "." in alias or not inner else f"{inner}.{alias}"
            for alias in _strings(node, "aliases")
        )
        known = self._named[full] = AvroType(node["type"], name=full, aliases=aliases)
        return known, inner

    def _record(self, node: dict[str, Any], namespace: str) -> AvroType:
        known, inner = self._name({**node, "type": "record"}, namespace)
        fields = node.get("fields")
        if not isinstance(fields, list):
            raise _MalformedError(f"record {known.name!r} without a list of 'fields'")
        for each in fields:
            if not isinstance(each, dict) or not _NAME.fullmatch(str(each.get("name", ""))):
                raise _MalformedError(f"a field of {known.name!r} without a right 'name'")
            if "type" not in each:
                raise _MalformedError(f"field {each['name']!r} without 'type'")
            if any(each["name"] == other.name for other in known.fields):
                raise _MalformedError(f"field {each['name']!r} twice in {known.name!r}")
            known.fields.append(
                AvroField(
                    each["name"],
                    self.read(each["type"], inner),
                    _strings(each, "aliases"),
                    "default" in each,
                )
            )
        return known

    def _enum(self, node: dict[str, Any], namespace: str) -> AvroType:
        known, _ = self._name(node, namespace)
        known.symbols = _strings(node, "symbols")
        if not known.symbols or len(set(known.symbols)) != len(known.symbols):
            raise _MalformedError(f"enum {known.name!r} needs distinct 'symbols'")
        if not all(_NAME.fullmatch(symbol) for symbol in known.symbols):
            raise _MalformedError(f"a symbol of enum {known.name!r} is not a name")
        known.has_default = "default" in node
        if known.has_default and node["default"] not in known.symbols:
            raise _MalformedError(f"the default of enum {known.name!r} is not one of its symbols")
        return known

    def _fixed(self, node: dict[str, Any], namespace: str) -> AvroType:
        known, _ = self._name(node, namespace)
        size = node.get("size")
        if type(size) is not int or size < 0:
            raise _MalformedError(f"fixed {known.name!r} needs a 'size'")
        known.size = size
        return known


def _strings(node: dict[str, Any], key: str) -> tuple[str, ...]:
    values = node.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _MalformedError(f"{key!r} must be a list of strings")
    return tuple(values)


class AvroSchema:
    """A compiled Avro definition: `CompiledSchema` for AVRO."""

    def __init__(self, source: SchemaSource) -> None:
        """Understand the definition.

        Raises:
            InvalidArgument: it is not an Avro schema; "Could not parse schema definition" as
                Google's emulator words it, and why.
        """
        try:
            node = json.loads(source.definition)
            self.root = _Reader().read(node, "")
            # A default must be a value of its type, of a union's first branch: fastavro's check.
            self._parsed = fastavro.parse_schema(node)
        except (ValueError, LookupError, TypeError, RecursionError, _MalformedError) as error:
            raise InvalidArgument(f"Could not parse schema definition: {error}") from error
        except (
            fastavro.schema.SchemaParseException,
            fastavro.schema.UnknownType,
        ) as error:
            raise InvalidArgument(f"Could not parse schema definition: {error}") from error

    def check(self, data: bytes, encoding: Encoding) -> None:
        """Raise InvalidArgument unless `data` is one value of the schema in this encoding."""
        if encoding is Encoding.JSON:
            reason = schema_avro_json.fault(self.root, data)
        else:
            reason = self._binary_fault(data)
        if reason is not None:
            kind = "JSON" if encoding is Encoding.JSON else "binary"
            raise InvalidArgument(f"Could not parse {kind} Avro message: {reason}")

    def _binary_fault(self, data: bytes) -> str | None:
        stream = io.BytesIO(data)
        try:
            fastavro.schemaless_reader(stream, self._parsed, None)
        except (EOFError, LookupError, ValueError, OverflowError, MemoryError) as error:
            return str(error) or type(error).__name__
        rest = len(data) - stream.tell()
        # DIFFERS: Google's emulator ignores what follows.
        return f"{rest} bytes after its end" if rest else None

    def incompatibility(self, earlier: CompiledSchema) -> str | None:
        """Why one of the two cannot read messages of the other; None if each can."""
        if not isinstance(earlier, AvroSchema):
            return "it is of another type"
        return schema_avro_resolution.fault(
            reader=self.root, writer=earlier.root
        ) or schema_avro_resolution.fault(reader=earlier.root, writer=self.root)
