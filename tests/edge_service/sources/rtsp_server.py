"""A camera for tests: an RTSP server on loopback that streams H.264 over the connection itself."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

import av
import numpy as np

FPS = 25
LEVELS = [20 * number for number in range(10)]
"""Grey of the right half of the frames, which come in this order again and again."""
_RTP_CLOCK = 90_000
_RTP_START = 1_000_000
_MOST_PAYLOAD = 1200
_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
)


class RtspServer:
    """Streams frames of 64x48, noise on the left and grey on the right, to one client after another, from entering
    the block to leaving it.

    Attributes:
        streamed: to how many.
    """

    def __init__(
        self,
        port: int = 0,
        schedule: Iterable[tuple[float, float]] | None = None,
        hangs_at: str | None = None,
        *,
        host: str = "127.0.0.1",
        password: str | None = None,
    ) -> None:
        """Args:
        schedule: for each frame the seconds to wait before it and its time stamp in seconds; the connection stays open
            after the last. Left out: 25 frames a second, for ever.
        hangs_at: the request that is never answered.
        password: and user before a colon, without which it shows nothing.
        """
        self._schedule, self._hangs_at = schedule, hangs_at
        self.streamed = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.place = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.url = f"rtsp://{self.place}/live"
        self._authorization = password and f"Basic {b64encode(password.encode()).decode()}"
        self._stop = threading.Event()
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve)
        self._frames = _encoded_frames()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for sock in (self._listener, self._client):
            if sock is not None:
                # Wakes the thread out of accept or recv.
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._client = client
            with client, client.makefile("rb") as requests:
                try:
                    self._talk(client, requests)
                except OSError:
                    continue

    def _talk(self, client: socket.socket, requests) -> None:  # type: ignore[no-untyped-def]
        while line := requests.readline():
            method = line.split()[0].decode()
            headers = {}
            while (header := requests.readline().decode().strip()) != "":
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            if self._authorization not in (None, headers.get("authorization")) and method != "OPTIONS":
                refusal = 'RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="camera"\r\n'
                client.sendall(f"{refusal}CSeq: {headers['cseq']}\r\n\r\n".encode())
                continue
            answer = {
                "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
                "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n",
                "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
            }.get(method, "Session: 1\r\n")
            if method == self._hangs_at:
                self._stop.wait()
                return
            body = _SDP if method == "DESCRIBE" else ""
            client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{answer}\r\n{body}".encode())
            if method == "PLAY":
                self._stream(client)
                return

    def _stream(self, client: socket.socket) -> None:
        number = 0
        self.streamed += 1
        usual = ((1 / FPS, number / FPS) for number in itertools.count())
        schedule = usual if self._schedule is None else self._schedule
        for count, (wait, stamp) in enumerate(schedule):
            if self._stop.wait(wait):
                return
            units = self._frames[count % len(self._frames)]
            packets = [packet for unit in units for packet in _packets(unit)]
            for index, packet in enumerate(packets):
                last = index == len(packets) - 1
                ticks = _RTP_START + round(stamp * _RTP_CLOCK)
                head = struct.pack(">BBHII", 0x80, 96 | last << 7, number & 0xFFFF, ticks & 0xFFFF_FFFF, 1)
                client.sendall(struct.pack(">BBH", 0x24, 0, len(head) + len(packet)) + head + packet)
                number += 1
        self._stop.wait()


def _packets(unit: bytes) -> list[bytes]:
    """A NAL unit as RTP payloads, by RFC 6184: whole, or in fragments."""
    if len(unit) <= _MOST_PAYLOAD:
        return [unit]
    parts = [unit[i : i + _MOST_PAYLOAD] for i in range(1, len(unit), _MOST_PAYLOAD)]
    indicator, kind = unit[0] & 0xE0 | 28, unit[0] & 0x1F
    return [
        bytes([indicator, (i == 0) << 7 | (i == len(parts) - 1) << 6 | kind]) + part for i, part in enumerate(parts)
    ]


def _encoded_frames() -> list[list[bytes]]:
    """Some frames, each a list of NAL units, all decodable alone."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt, context.framerate = 64, 48, "yuv420p", FPS
    context.options = {"g": "1", "tune": "zerolatency", "x264-params": "sliced-threads=0"}
    random = np.random.default_rng(0)
    frames = []
    for level in LEVELS:
        image = random.integers(0, 256, (48, 64, 3), np.uint8)
        image[:, 32:] = level
        for packet in context.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
            data = bytes(packet).replace(b"\0\0\0\1", b"\0\0\1")
            frames.append([unit for unit in data.split(b"\0\0\1") if unit])
    return frames
