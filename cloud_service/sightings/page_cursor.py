"""Where a search goes on: a text that means something to the service alone."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import NamedTuple

import google_crc32c

from icm.errors import ConfigError

_PACKED = struct.Struct(">qQI")


class PageCursor(NamedTuple):
    """The sighting that a page ended with."""

    start_us: int
    id: int

    def to_text(self, query: str) -> str:
        """The cursor of a search.

        Args:
            query: what was asked, in whatever words.
        """
        body = _PACKED.pack(self.start_us, self.id, _checksum(self, query))
        return base64.urlsafe_b64encode(body).decode().rstrip("=")

    @staticmethod
    def from_text(text: str, query: str) -> PageCursor:
        """Reads what ``to_text`` gave for the same query.

        Raises:
            ConfigError: it is none, or another query's.
        """
        try:
            body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            start_us, number, checksum = _PACKED.unpack(body)
        except (binascii.Error, struct.error, ValueError):
            raise ConfigError(
                f"SearchSightings: the cursor {text[:40]!r} is none that an answer gave: take next_cursor as it is"
            ) from None
        cursor = PageCursor(start_us, number)
        if number >= 1 << 63 or checksum != _checksum(cursor, query):
            raise ConfigError(
                f"SearchSightings: the cursor {text[:40]!r} is another request's: begin again without one, or ask the"
                " same as before"
            )
        return cursor


def _checksum(cursor: PageCursor, query: str) -> int:
    return int(google_crc32c.value(f"{cursor.start_us} {cursor.id} {query}".encode(errors="surrogatepass")))
