"""What is checked of a stream before the store gets any of it: its Hello, its headers, and each of its records."""

from __future__ import annotations

from cloud_service.bundles import Bundles
from cloud_service.feedback.broken_references import BrokenReferences
from cloud_service.store import RawRecord, RecordStore
from icm.camera_name import check_camera_name
from icm.codec.bitstream.record import LATEST_US, MAX_SEQUENCE, Kind, Record, StreamHeader
from icm.errors import ProtocolError, RecordError, ReferenceMissingError
from icm.v1.ingest_pb2 import Hello

MAX_EPOCH = (1 << 63) - 1


def check_hello(hello: Hello, bundles: Bundles) -> None:
    """Checks a stream's Hello.

    Raises:
        ConfigError: the camera's name is not allowed.
        ProtocolError: a number in it is out of range.
        CodecMismatchError: no bundle here decodes its codec.
    """
    check_camera_name(hello.camera)
    if not 0 < hello.epoch <= MAX_EPOCH or hello.last_persisted > MAX_SEQUENCE:
        raise ProtocolError(f"Hello: epoch {hello.epoch} or last_persisted {hello.last_persisted} is out of range")
    bundles.of(hello.codec_id, f"camera {hello.camera!r}")


class RecordValidator:
    """Looks at one stream's records, in the order in which they come.

    Attributes:
        header: that holds for the next record; an error where it is of no use, None before the first one.
    """

    def __init__(self, hello: Hello, *, store: RecordStore, chains: BrokenReferences, most_ahead: int) -> None:
        """Creates the validator of one stream.

        Args:
            hello: the stream's, checked.
            chains: cameras that must send an I record.
            most_ahead: how many records may lie between two that come after each other.
        """
        self._hello, self._store, self._chains, self._most_ahead = hello, store, chains, most_ahead
        self._camera, self._epoch = hello.camera, hello.epoch
        self._last_sequence = hello.last_persisted
        self._newest = 0
        self._in_flight: set[int] = set()
        self.header: StreamHeader | RecordError | None = None

    def take_header(self, packed: bytes) -> None:
        """What follows comes under this stream header. One that is of no use rejects all of it: to end the stream
        instead would bring the same header again with the next one, and hold the camera's later records up for ever.
        """
        self.header = self._parse_header(packed)

    def take(self, packed: bytes, header: StreamHeader | RecordError) -> RawRecord:
        """A record that the store may have next. It is in flight until ``settled``.

        Raises:
            ReferenceMissingError: a decoder that has read the log so far could not decode this record next.
            RecordError: it is damaged, or came under a header of no use.
        """
        if isinstance(header, RecordError):
            raise RecordError(str(header))
        record = Record.parse_whole(packed, header)
        if not (record.sequence in self._in_flight or self._store.holds(self._camera, self._epoch, record.sequence)):
            self._check_reference(record)
            self._newest = record.sequence
        self._last_sequence = record.sequence
        self._in_flight.add(record.sequence)
        return RawRecord(record, packed)

    def reject(self, packed: bytes, error: RecordError) -> int:
        """The sequence that a rejected record claims; if it is damaged, only if that can be true, else the next one."""
        claimed, following = int.from_bytes(packed[:4], "little"), self._last_sequence + 1
        credible = following <= claimed <= self._last_sequence + self._most_ahead
        sequence = claimed if credible or isinstance(error, ReferenceMissingError) else following
        self._last_sequence = max(self._last_sequence, sequence)
        return sequence

    def settled(self, sequence: int) -> None:
        """The store holds this record."""
        self._in_flight.discard(sequence)

    def _parse_header(self, packed: bytes) -> StreamHeader | RecordError:
        try:
            header = StreamHeader.parse(packed)[0]
        except RecordError as error:
            return error
        hello = self._hello
        if (header.camera, header.epoch, header.codec_id) != (hello.camera, hello.epoch, hello.codec_id):
            return RecordError("the stream header's camera, epoch and codec must be those of the Hello")
        if header.base_us > LATEST_US:
            return RecordError(f"the stream header's base time {header.base_us} us lies beyond the year 9986")
        return header

    def _check_reference(self, record: Record) -> None:
        # What an earlier stream of this camera brought can reach the disk after this one began.
        newest = max(self._newest, self._store.newest(self._camera, self._epoch))
        if record.kind is Kind.I:
            self._chains.is_intra(self._camera, self._epoch, record.sequence)
        elif record.sequence - record.reference != newest:
            raise ReferenceMissingError(
                f"record {record.sequence} refers to record {record.sequence - record.reference}, but the newest that"
                f" is here is {newest or 'none'}; send an I record"
            )
        elif self._chains.broken(self._camera, self._epoch):
            raise ReferenceMissingError(
                f"record {record.sequence} needs records of which one is lost or damaged here; send an I record"
            )
