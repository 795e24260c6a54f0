"""What a message may hold, looked at while it still is bytes: two of them can become an object of fifty when parsed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.descriptor import Descriptor

from icm.errors import BusyError, ProtocolError

MOST_FIELDS = 8192
"""Values in one message, those of messages within it included. A batch of the largest credit has half as many."""
_RETRY_SECONDS = 2.0
_MOST_VARINT_BYTES = 10


def check_fields(data: bytes, kind: Descriptor, most: int = MOST_FIELDS) -> None:
    """Walks over a message's fields, and those of the messages in it, without making anything of them.

    Args:
        kind: what the bytes are meant to be.

    Raises:
        ProtocolError: there are more than ``most``, or the bytes are no message. Parsing tells of most that are none.
    """
    if len(data) <= most:
        return  # each value takes a byte at least
    ends, at, count = [(len(data), kind)], 0, 0
    while ends:
        end, inside = ends[-1]
        if at >= end:
            ends.pop()
            continue
        count += 1
        if count > most:
            raise ProtocolError(f"a message of {len(data)} bytes holds more than {most} values: send them in several")
        tag, at = _varint(data, at, end)
        match tag & 7:
            case 0:  # a varint
                _, at = _varint(data, at, end)
            case 1:  # 64 bits
                at += 8
            case 2:  # bytes, a text or a message
                size, at = _varint(data, at, end)
                field = inside.fields_by_number.get(tag >> 3)
                if at + size > end:
                    raise _no_message()
                if field is not None and field.message_type is not None:
                    ends.append((at + size, field.message_type))
                else:
                    at += size
            case 3 | 4:  # the ends of a group, whose fields are counted like others
                pass
            case 5:  # 32 bits
                at += 4
            case _:
                raise _no_message()
        if at > end:
            raise _no_message()


class MessageRoom:
    """Bytes of messages that a server works on at once: of all clients together, and half of that of each."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._clients: Counter[str] = Counter()

    @contextmanager
    def held(self, client: str, size: int) -> Iterator[None]:
        """A client's message of so many bytes is worked on while the block runs.

        Raises:
            BusyError: there is no room for it now.
        """
        own = self._clients[client]
        if (own and own + size > self._most // 2) or (self._held and self._held + size > self._most):
            raise BusyError(
                f"messages of {self._held} bytes are being worked on here, {own} of them {client}'s, and"
                f" {self._most} may, half of that of one client: come back later",
                _RETRY_SECONDS,
            )
        self._held += size
        self._clients[client] += size
        try:
            yield
        finally:
            self._held -= size
            self._clients[client] -= size
            if not self._clients[client]:
                del self._clients[client]


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number that begins at an offset, and where it ends."""
    value = shift = 0
    for position in range(at, min(end, at + _MOST_VARINT_BYTES)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise _no_message()


def _no_message() -> ProtocolError:
    return ProtocolError("a message is not of the kind that this call takes: its bytes are no such message")
