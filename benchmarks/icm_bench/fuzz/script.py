"""What a hostile client says to a server, as bytes, so that it can be kept in a corpus; and changes to it.

A script is a byte that says how the client behaves, then messages, each after its length in four bytes. Any bytes are a
script: a length that leads beyond the end is cut there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.message import DecodeError

from icm.codec.bitstream.record import MAX_REFERENCE, MAX_SEQUENCE, Kind, Record, StreamHeader, parse_stream
from icm.errors import RecordError
from icm.v1.ingest_pb2 import Hello, RecordBatch, StreamRecordsRequest

_LENGTH_BYTES = 4
_MOST_MESSAGES = 64
_SEQUENCES = (1, 2, 3, 64, 1000, MAX_SEQUENCE - 1, MAX_SEQUENCE)
_EPOCHS = (0, 1, 2, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_CAMERAS = ("gate", "yard", "", "../gate", "Gate", "g" * 65, "gate\n", "\u00e9")


def pack(behaviour: int, messages: Sequence[bytes]) -> bytes:
    """A script."""
    parts = (len(message).to_bytes(_LENGTH_BYTES, "little") + message for message in messages)
    return bytes([behaviour]) + b"".join(parts)


def unpack(script: bytes) -> tuple[int, list[bytes]]:
    """How the client behaves, 0 to 255, and its messages, as many as a test has patience for."""
    messages: list[bytes] = []
    at = 1
    while at + _LENGTH_BYTES <= len(script) and len(messages) < _MOST_MESSAGES:
        end = at + _LENGTH_BYTES + int.from_bytes(script[at : at + _LENGTH_BYTES], "little")
        messages.append(script[at + _LENGTH_BYTES : end])
        at = end
    return script[0] if script else 0, messages


def mutate_order(script: bytes, dice: random.Random) -> bytes:
    """Messages left out, doubled, swapped; another behaviour."""
    behaviour, messages = unpack(script)
    for _ in range(dice.randint(0, 3)):
        at = dice.randrange(len(messages) + 1)
        match dice.randrange(4):
            case 0:
                behaviour = dice.randrange(256)
            case 1:
                del messages[at : at + 1]
            case 2 if messages:
                messages.insert(at, dice.choice(messages))
            case _ if messages:
                other = dice.randrange(len(messages))
                at %= len(messages)
                messages[at], messages[other] = messages[other], messages[at]
    return pack(behaviour, messages)


def mutate_records(script: bytes, dice: random.Random) -> bytes:
    """A record stream that keeps the form and breaks the rules: sequences, epochs, references, headers, payloads."""
    behaviour, messages = unpack(script)
    header: StreamHeader | None = None
    changed = []
    for message in messages:
        try:
            request = StreamRecordsRequest.FromString(message)
        except DecodeError:
            changed.append(message)
            continue
        if request.WhichOneof("message") == "hello" and dice.random() < 0.2:
            _change_hello(request.hello, dice)
        if request.HasField("batch"):
            header = _header_of(request.batch.stream_header) or header
            if header is not None and request.batch.stream_header and dice.random() < 0.2:
                request.batch.stream_header = _changed_header(header, dice).pack()
            for index, packed in enumerate(request.batch.records):
                if header is not None and dice.random() < 0.3:
                    request.batch.records[index] = _changed_record(packed, header, dice)
        changed.append(request.SerializeToString())
    return pack(behaviour, changed)


def record_stream(stored: bytes) -> bytes:
    """A client that sends the records of a file, as an edge would.

    Raises:
        RecordError: it is no such file.
    """
    header, records = parse_stream(stored)
    hello = Hello(camera=header.camera, epoch=header.epoch, codec_id=header.codec_id)
    packed = [record.pack(header) for record in records]
    first = RecordBatch(stream_header=header.pack(), records=packed[:1])
    requests = [StreamRecordsRequest(hello=hello), StreamRecordsRequest(batch=first)]
    requests += [StreamRecordsRequest(batch=RecordBatch(records=[record])) for record in packed[1:]]
    return pack(0, [request.SerializeToString() for request in requests])


def _change_hello(hello: Hello, dice: random.Random) -> None:
    match dice.randrange(5):
        case 0:
            hello.epoch = dice.choice(_EPOCHS)
        case 1:
            hello.last_persisted = dice.choice((*_SEQUENCES, MAX_SEQUENCE + 1, (1 << 64) - 1))
        case 2:
            hello.camera = dice.choice(_CAMERAS)
        case 3:
            hello.codec_id = dice.randbytes(dice.choice((0, 1, 32, 4000)))
        case _:
            hello.send_time.seconds = dice.choice((-(1 << 63), -1, (1 << 63) - 1))
            hello.send_time.nanos = dice.choice((-(1 << 31), (1 << 31) - 1))


def _header_of(packed: bytes) -> StreamHeader | None:
    try:
        return StreamHeader.parse(packed)[0]
    except RecordError:
        return None


def _changed_header(header: StreamHeader, dice: random.Random) -> StreamHeader:
    match dice.randrange(4):
        case 0:
            return replace(header, epoch=dice.choice(_EPOCHS))
        case 1:
            return replace(header, base_us=dice.choice((0, 1, (1 << 63) - 1, (1 << 64) - 1)))
        case 2:
            return replace(header, camera="yard")
        case _:
            return replace(header, width=dice.choice((1, 16, 500)), height=dice.choice((1, 16, 500)))


def _changed_record(packed: bytes, header: StreamHeader, dice: random.Random) -> bytes:
    """Another record whose checksum is right, or bytes whose is not."""
    try:
        record = Record.parse(packed, header)[0]
    except RecordError:
        return packed
    match dice.randrange(5):
        case 0:
            record = replace(record, sequence=dice.choice(_SEQUENCES))
        case 1:
            leans_on, motion = dice.choice((1, 2, MAX_REFERENCE)), dice.random() < 0.5
            record = replace(record, kind=Kind.P, reference=leans_on, motion=motion)
        case 2:
            record = replace(record, kind=Kind.I, reference=0, motion=False, quality=dice.randrange(256))
        case 3:
            cut = dice.randrange(len(record.payload) + 1)
            record = replace(record, payload=record.payload[:cut] + dice.randbytes(dice.randint(0, 8)))
        case _:
            damaged = bytearray(packed)
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
            return bytes(damaged)
    return record.pack(header)
