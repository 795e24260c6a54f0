"""The keys of edges, as cameras' chains name them: the first that is met is trusted, another has to be accepted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from icm.errors import ConfigError, NotFoundError
from icm.proof.statements import EdgeKey
from icm.service.clock import Clock

log = logging.getLogger(__name__)


class KeyChains(Protocol):
    """What this asks of the chains."""

    def edge_keys(self, camera: str) -> Sequence[EdgeKey]:
        """The keys that a camera's chain names, the newest last."""

    def add_edge_key(self, entry: EdgeKey) -> None:
        """Puts a key into its camera's chain, on the disk.

        Raises:
            StorageError: the disk refused.
        """


class EdgeKeys:
    """Keys of all cameras' edges. Thread-safe."""

    def __init__(self, chains: KeyChains, cameras: Callable[[], Collection[str]], clock: Clock) -> None:
        """Args: cameras, tells those that ever sent a record."""
        self._chains, self._cameras, self._clock = chains, cameras, clock
        self._lock = threading.Lock()

    def is_known(self, camera: str, key: bytes) -> bool:
        """Whether a key is the one that the chain names for a camera's edge. The first that is met is noted there.

        Raises:
            StorageError: the disk refused to note it.
        """
        with self._lock:
            known = self._chains.edge_keys(camera)
            if not known:
                self._chains.add_edge_key(EdgeKey(camera, key, self._clock.now_us()))
                log.info("camera %s: its edge seals with %s, as the chain says from now on", camera, key.hex())
            return not known or known[-1].key == key

    def accept(self, camera: str, key: bytes, by: str, reason: str) -> EdgeKey:
        """Notes that a camera's edge has another key from now on.

        Raises:
            NotFoundError: nothing is stored of such a camera.
            ConfigError: it is the key already.
            StorageError: the disk refused.
        """
        if camera not in self._cameras():
            raise NotFoundError(f"there is no camera {camera!r}; ListCameras names them")
        with self._lock:
            known = self._chains.edge_keys(camera)
            if known and known[-1].key == key:
                raise ConfigError(f"{key.hex()} is the key of camera {camera} already")
            entry = EdgeKey(camera, key, self._clock.now_us(), by, reason)
            self._chains.add_edge_key(entry)
        log.info("camera %s: %s accepts the edge's key %s: %s", camera, by, key.hex(), reason)
        return entry
