"""gRPC plumbing of the embedded emulators: a table of methods in, a served port out.

1. A service is a table `RPC name -> Rpc(request type, reply type, function)`; the message
   types are the official packages' own, so no generated code lives here.
2. Every RPC that Google's client can call is in `rpcs` or, with a reason, in `unsupported`;
   the latter answer UNIMPLEMENTED by name. A test compares both with the installed client.
3. A `ServiceError` raised by the core becomes its gRPC status here and nowhere else. Any
   other exception is a defect of ours: logged with its traceback, answered INTERNAL.
4. One event loop; functions of the core are called on it and never wait.

Health (grpc.health.v1) and reflection come with every server.
"""

from __future__ import annotations  # grpc's handler classes cannot be subscripted at run time

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from emulator.errors import ServiceError, Unimplemented

log = logging.getLogger(__name__)

# Production takes 10 MB of Pub/Sub data and 10 MiB of Firestore commit; what is larger must
# reach the core to be refused by name, so the transport allows more.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Rpc:
    """One method: its message types and the function that answers.

    `call` by kind, `context` being grpc.aio's servicer context:
      unary                      call(request, context) -> reply, or an awaitable of it
      stream_out                 call(request, context) -> async iterator of replies
      stream_in and stream_out   call(async iterator of requests, context) -> async iterator
    """

    request: type[Message]
    reply: type[Message]
    call: Callable[[Any, Context], Any]
    stream_in: bool = False
    stream_out: bool = False


@dataclass(frozen=True)
class Service:
    """A gRPC service: `name` as in the .proto, methods answered, methods refused with a reason."""

    name: str
    rpcs: Mapping[str, Rpc]
    unsupported: Mapping[str, str] = field(default_factory=dict)


async def _abort(context: Context, error: ServiceError) -> None:
    """End the call with the error's status; `reasons` travel as google.rpc.ErrorInfo."""
    code = grpc.StatusCode[error.code]
    trailing: tuple[tuple[str, bytes], ...] = ()
    if error.reasons:
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(metadata=error.reasons))
        status = status_pb2.Status(code=code.value[0], message=error.message, details=[detail])
        trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, error.message, trailing)


async def _failed(context: Context, service: str, name: str, error: Exception) -> None:
    if isinstance(error, ServiceError):
        await _abort(context, error)
    if isinstance(error, grpc.aio.AbortError):
        raise error
    log.exception("%s.%s failed", service, name, exc_info=error)
    await context.abort(
        grpc.StatusCode.INTERNAL,
        f"{service}.{name}: {type(error).__name__} in the emulator; see its log",
    )


def _unary(service: str, name: str, rpc: Rpc) -> Callable[[Any, Context], Awaitable[Any]]:
    call = rpc.call

    async def answer(request: Any, context: Context) -> Any:
        try:
            reply = call(request, context)
            return await reply if inspect.isawaitable(reply) else reply
        except Exception as error:  # translated, or logged and answered INTERNAL
            await _failed(context, service, name, error)

    return answer


def _stream(service: str, name: str, rpc: Rpc) -> Callable[[Any, Context], AsyncIterator[Any]]:
    call = rpc.call

    async def answer(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for reply in call(request, context):
                yield reply
        except Exception as error:  # translated, or logged and answered INTERNAL
            await _failed(context, service, name, error)

    return answer


def _refuse(service: str, name: str, reason: str) -> grpc.RpcMethodHandler[Any, Any]:
    async def answer(_requests: Any, context: Context) -> AsyncIterator[bytes]:
        await _abort(context, Unimplemented(f"{service}.{name} is not supported: {reason}"))
        yield b""  # pragma: no cover - abort raises; this makes it a generator

    return grpc.stream_stream_rpc_method_handler(answer)  # a stream handler answers every kind


def _handler(service: str, name: str, rpc: Rpc) -> grpc.RpcMethodHandler[Any, Any]:
    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    behaviour: Any = _stream if rpc.stream_out else _unary
    return kinds[rpc.stream_in, rpc.stream_out](
        behaviour(service, name, rpc),
        request_deserializer=rpc.request.FromString,
        response_serializer=rpc.reply.SerializeToString,
    )


def generic_handler(service: Service) -> grpc.GenericRpcHandler:
    """The service as something a gRPC server can be given."""
    handlers = {name: _handler(service.name, name, rpc) for name, rpc in service.rpcs.items()}
    for name, reason in service.unsupported.items():
        handlers[name] = _refuse(service.name, name, reason)
    return grpc.method_handlers_generic_handler(service.name, handlers)


def _describe(service: Service) -> None:
    """Put the service into the descriptor pool, where reflection finds it.

    The official Python packages describe their messages there, but not their services.
    """
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(service.name)
    except KeyError:
        package, _, name = service.name.rpartition(".")
        types = [type_ for rpc in service.rpcs.values() for type_ in (rpc.request, rpc.reply)]
        file = descriptor_pb2.FileDescriptorProto(
            name=f"emulator/{service.name}.proto",
            package=package,
            syntax="proto3",
            dependency=sorted({type_.DESCRIPTOR.file.name for type_ in types}),
        )
        described = file.service.add(name=name)
        for method, rpc in service.rpcs.items():
            described.method.add(
                name=method,
                input_type=f".{rpc.request.DESCRIPTOR.full_name}",
                output_type=f".{rpc.reply.DESCRIPTOR.full_name}",
                client_streaming=rpc.stream_in,
                server_streaming=rpc.stream_out,
            )
        pool.AddSerializedFile(file.SerializeToString())


async def serve(services: Sequence[Service], host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """Serve on host:port (0: a free one) with health and reflection; the server and its port.

    Raises:
        OSError: the port is taken.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),  # else a second server would silently share the port
            # A peer that vanished without a word is noticed, and what it had leased goes back.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
        ]
    )
    server.add_generic_rpc_handlers(tuple(generic_handler(service) for service in services))
    for service in services:
        _describe(service)
    names = [service.name for service in services]
    checker = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    reflection.enable_server_reflection(
        [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"port {port} on {host} cannot be used: {error}") from error
    await server.start()
    for name in ("", *names):
        await checker.set(name, health_pb2.HealthCheckResponse.SERVING)
    return server, bound
