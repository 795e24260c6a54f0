"""What watches every call of a server, whichever service it belongs to."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError, Message

from shared.errors import IcmError, ProtocolError
from shared.rpc.status import abort

_HEALTH = "/grpc.health.v1.Health/"


class CallWatch(Protocol):
    """Watches one call. What it raises, any IcmError, ends the call."""

    async def received(self, message: Message) -> None:
        """A message of the client came; it is handed on when this returns."""

    async def sending(self) -> None:
        """A message of a stream is about to leave."""


class CallGuard(grpc.aio.ServerInterceptor):
    """Base of guards. Health is left alone: whoever runs the service asks for it, and it tells nothing else.

    A message that is none of the call's kind ends the call with a ProtocolError; gRPC by itself would log a traceback.
    """

    @abstractmethod
    def watch(self, context: Any) -> AbstractAsyncContextManager[CallWatch]:
        """Entered when a call begins and left when it is over. Entering raises an IcmError to refuse the call."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        # None: there is no such method, which gRPC answers itself.
        if handler is None or handler_call_details.method.startswith(_HEALTH):
            return handler
        if handler.response_streaming:
            make, method = (
                (grpc.stream_stream_rpc_method_handler, handler.stream_stream)
                if handler.request_streaming
                else (grpc.unary_stream_rpc_method_handler, handler.unary_stream)
            )
            guarded: Any = self._streaming(method, handler.request_streaming)
        else:
            make, method = (
                (grpc.stream_unary_rpc_method_handler, handler.stream_unary)
                if handler.request_streaming
                else (grpc.unary_unary_rpc_method_handler, handler.unary_unary)
            )
            guarded = self._unary(method, handler.request_streaming)
        return make(guarded, _tolerant(handler.request_deserializer), handler.response_serializer)

    def _unary(self, method: Any, streamed: bool) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            try:
                async with self.watch(context) as watch:
                    return await method(await _watched(request, streamed, watch), context)
            except IcmError as error:
                await abort(context, error)

        return answer

    def _streaming(self, method: Any, streamed: bool) -> Any:
        async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async with (
                    self.watch(context) as watch,
                    aclosing(method(await _watched(request, streamed, watch), context)) as responses,
                ):
                    async for response in responses:
                        await watch.sending()
                        yield response
            except IcmError as error:
                await abort(context, error)

        return answer


async def _watched(request: Any, streamed: bool, watch: CallWatch) -> Any:
    """The request, or the stream of them, seen by the watch before the service sees it."""
    if streamed:
        return _each_watched(request, watch)
    await watch.received(_decoded(request))
    return request


async def _each_watched(requests: AsyncIterator[Message], watch: CallWatch) -> AsyncIterator[Message]:
    async for request in requests:
        await watch.received(_decoded(request))
        yield request


def _tolerant(deserializer: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Gives the error instead of raising it, where nobody could answer it."""

    def deserialize(data: bytes) -> Any:
        try:
            return deserializer(data)
        except DecodeError as error:
            return error

    return deserialize


def _decoded(request: Message | DecodeError) -> Message:
    if isinstance(request, DecodeError):
        raise ProtocolError(f"a message is not of the kind that this call takes: {request}")
    return request
