"""A child process that decodes and detects: what it takes of the processor it takes after everything else.

A thread of the service would share Python's lock with the ingest, and torch's threads, which have one priority, with
the live detector; and weights that bring a process down would bring down the service.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import IO

from cloud_service.processing.engine.base import Problem, Result, Work
from cloud_service.redetection.messages import Answer, Start, Started
from icm.errors import DetectorError
from icm.service.command_line import STOPS


class DetectionProcess:
    """The child process. Belongs to one thread, but for ``kill``.

    Attributes:
        batch: the most records that one piece of work may hold; 0 until all is loaded.
        died: whether the process ended by itself, which another one may not.
    """

    def __init__(self) -> None:
        """Starts the process.

        Raises:
            DetectorError: the system refuses.
        """
        self.batch, self.died = 0, False
        command = [sys.executable, "-P", "-m", "cloud_service.redetection.child"]
        # It is this process that ends it: stops of a whole group must not. What a thread blocks, a process that it
        # starts blocks from its first moment on.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise DetectorError(f"cannot start a process for re-detection: {error.strerror}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def __enter__(self) -> DetectionProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self, start: Start) -> None:
        """Waits until all is loaded.

        Raises:
            DetectorError: the weights, or a bundle, cannot be loaded, or the process died.
        """
        started = self._ask(start)
        if isinstance(started, Problem):
            raise DetectorError(started.text)
        assert isinstance(started, Started)
        self.batch = started.batch

    def look_at(self, work: Work) -> Result:
        """What is in the frames of some work.

        Raises:
            DetectorError: the process died.
        """
        result = self._ask(work)
        assert isinstance(result, Result)
        return result

    def kill(self) -> None:
        """Ends the process at once; for whoever waits for it, it died."""
        self._child.kill()

    def close(self) -> None:
        """Ends the process; nobody may wait for it."""
        self._child.kill()
        self._child.wait()
        for pipe in self._pipes():
            with suppress(BrokenPipeError):
                pipe.close()

    def _ask(self, question: Start | Work) -> Answer:
        requests, answers = self._pipes()
        try:
            pickle.dump(question, requests)
            requests.flush()
            answer: Answer = pickle.load(answers)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.died = True
            raise DetectorError(
                f"the process of the re-detection ended with status {self._child.wait()}; the log has what it said"
            ) from None
        return answer

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        return self._child.stdin, self._child.stdout
