"""The compilers of the two kinds of schema, imported at the first use of each.

`fastavro` and above all `grpcio-tools` are heavy; a stack without schemas never loads them.
"""

from emulator.pubsub.schemas import CompiledSchema, SchemaSource, SchemaType


def compile_schema(source: SchemaSource) -> CompiledSchema:
    """The definition, understood: what `SchemaRegistry` is given.

    Raises:
        InvalidArgument: it is not a schema; the message says what the compiler said.
    """
    if source.type is SchemaType.AVRO:
        from emulator.pubsub.schema_avro import AvroSchema

        return AvroSchema(source)
    from emulator.pubsub.schema_protobuf import ProtobufSchema

    return ProtobufSchema(source)
