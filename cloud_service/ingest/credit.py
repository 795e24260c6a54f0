"""What bounds the cloud's memory: how many records, and how many bytes of them, wait to be persisted."""

from __future__ import annotations

from dataclasses import dataclass

from icm.errors import BusyError, ProtocolError

RETRY_SECONDS = 2.0
"""How long an edge that was turned away for too much work is asked to wait."""


@dataclass
class Pending:
    """Bytes of records that wait, over all streams.

    Attributes:
        limit: the most there may be.
        bytes: how many there are.
    """

    limit: int
    bytes: int = 0


class Credit:
    """One stream's account of records that are not acknowledged yet."""

    def __init__(self, camera: str, records: int, size: int, pending: Pending) -> None:
        """Creates the credit of one stream.

        Args:
            records: how many may wait at any time.
            size: how many bytes may wait at any time.
            pending: what all streams together have waiting.
        """
        self._camera, self._pending = camera, pending
        self.most_records, self.most_bytes = records, size
        self._records = 0
        self._bytes = 0

    def take(self, records: int, size: int) -> None:
        """Records have come.

        Raises:
            ProtocolError: they are more than the edge was promised to be taken.
            BusyError: they are more than the cloud as a whole can hold now.
        """
        self._records += records
        self._bytes += size
        self._pending.bytes += size
        if self._records > self.most_records:
            raise ProtocolError(
                f"{self._records} records of camera {self._camera!r} are unacknowledged, the credit is"
                f" {self.most_records}: wait for PERSISTED before sending more"
            )
        if self._bytes > self.most_bytes and self._records > 1:
            raise ProtocolError(
                f"{self._bytes} bytes of camera {self._camera!r} are unacknowledged, the credit is"
                f" {self.most_bytes}: wait for PERSISTED before sending more"
            )
        if self._pending.bytes > self._pending.limit:
            raise BusyError(
                f"{self._pending.bytes} bytes of records wait to be persisted, {self._pending.limit} may:"
                " come back later (ingest.pending_bytes sets the bound)",
                RETRY_SECONDS,
            )

    def settle(self, records: int, size: int) -> None:
        """Records have been acknowledged."""
        self._records -= records
        self._bytes -= size
        self._pending.bytes -= size

    def close(self) -> None:
        """Nothing of this stream waits any more."""
        self.settle(self._records, self._bytes)
