"""Between gRPC and the services: who calls is known, and what comes is bounded, before anything of it is parsed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import DecodeError, Message

from icm.errors import IcmError, ProtocolError
from icm.rpc.call_guard import CallGuard, CallWatch
from icm.rpc.limits import client_of
from icm.rpc.message_bounds import MessageRoom, check_fields
from icm.rpc.status import abort

_HEALTH = "/grpc.health.v1.Health/"


class GuardedCalls(grpc.aio.ServerInterceptor):
    """Has guards watch each call. Health is not guarded: whoever runs the service asks for it, and it tells nothing
    else.

    A message that is none of the call's kind ends the call with a ProtocolError; gRPC by itself would log a traceback.
    """

    def __init__(self, guards: Sequence[CallGuard], room: MessageRoom) -> None:
        """Creates the interceptor.

        Args:
            guards: the first one is asked first.
            room: for the messages of all calls.
        """
        self._guards, self._room = guards, room

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        # None: there is no such method, which gRPC answers itself.
        if handler is None:
            return None
        name = handler_call_details.method
        calls = _Calls(
            () if name.startswith(_HEALTH) else self._guards,
            self._room,
            _request_of(name),
            handler.request_deserializer,
        )
        streamed = handler.request_streaming
        # Without a deserializer messages come as the bytes that they are. Every call is taken for one of a stream of
        # messages, which on the wire it is: gRPC would gather the one message of another before it tells who calls.
        if handler.response_streaming:
            method = handler.stream_stream if streamed else handler.unary_stream
            return grpc.stream_stream_rpc_method_handler(
                calls.streaming(method, streamed), None, handler.response_serializer
            )
        method = handler.stream_unary if streamed else handler.unary_unary
        return grpc.stream_unary_rpc_method_handler(calls.unary(method, streamed), None, handler.response_serializer)


class _Calls:
    """Of one method."""

    def __init__(
        self, guards: Sequence[CallGuard], room: MessageRoom, kind: Descriptor, parse: Callable[[bytes], Message]
    ) -> None:
        self._guards, self._room, self._kind, self._parse = guards, room, kind, parse

    def unary(self, method: Any, streamed: bool) -> Any:
        async def answer(requests: Any, context: Any) -> Any:
            try:
                async with self._watched(context) as call, self._opened(requests, streamed, call) as opened:
                    return await method(opened, context)
            except IcmError as error:
                await abort(context, error)

        return answer

    def streaming(self, method: Any, streamed: bool) -> Any:
        # No generator: a call that is ended while it waits to write still has a status to send.
        async def answer(requests: Any, context: Any) -> None:
            try:
                async with (
                    self._watched(context) as call,
                    self._opened(requests, streamed, call) as opened,
                    aclosing(method(opened, context)) as responses,
                ):
                    async for response in responses:
                        for watch in call.watches:
                            await watch.sending()
                        await context.write(response)
            except IcmError as error:
                await abort(context, error)

        return answer

    @asynccontextmanager
    async def _watched(self, context: Any) -> AsyncIterator[_Call]:
        async with AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(guard.watch(context)) for guard in self._guards]
            yield _Call(client_of(context), watches)

    @asynccontextmanager
    async def _opened(self, requests: AsyncIterator[bytes], streamed: bool, call: _Call) -> AsyncIterator[Any]:
        """The request, or the stream of them, as the service takes it."""
        if streamed:
            # Ended with the call, so that no message is held once nobody takes the next one.
            async with aclosing(self._each(requests, call)) as messages:
                yield messages
            return
        await call.ready()
        request = await anext(aiter(requests), None)
        if request is None:
            raise ProtocolError("the call ended before its message came")
        with self._room.held(call.client, len(request)):
            yield await self._message(request, call, pays_first=True)

    async def _each(self, requests: AsyncIterator[bytes], call: _Call) -> AsyncGenerator[Message, None]:
        coming = aiter(requests)
        while True:
            # Who owes time waits before the next message and not with one in hand.
            await call.ready()
            request = await anext(coming, None)
            if request is None:
                return
            # Until the service asks for the next one.
            with self._room.held(call.client, len(request)):
                yield await self._message(request, call)

    async def _message(self, data: bytes, call: _Call, pays_first: bool = False) -> Message:
        check_fields(data, self._kind)
        for watch in call.watches:
            await watch.received(len(data))
        if pays_first:
            await call.ready()
        try:
            return self._parse(data)
        except DecodeError as error:
            raise ProtocolError(f"a message is not of the kind that this call takes: {error}") from None


class _Call(NamedTuple):
    """Who calls, and who watches it."""

    client: str
    watches: Sequence[CallWatch]

    async def ready(self) -> None:
        for watch in self.watches:
            await watch.ready()


def _request_of(method: str) -> Descriptor:
    """The kind of message that a method, such as /icm.v1.ArchiveService/GetFrame, is asked with."""
    _, service, name = method.split("/")
    kind: Descriptor = Default().FindServiceByName(service).methods_by_name[name].input_type
    return kind
