"""The process that decodes and detects for re-detection, with the lowest priority that the system has.

It gets a ``Start``, then ``Work``, as pickles on its standard input, and answers each with one on what was its standard
output. It ends with its input, so it never outlives the service, however that ends.
"""

from __future__ import annotations

import os
import pickle
import sys

from cloud_service.archive.rendering import SegmentRenderer
from cloud_service.bundles import Bundles
from cloud_service.detection.registry import load_wanted
from cloud_service.metrics import Metrics
from cloud_service.processing.engine.base import Problem, Work
from cloud_service.processing.engine.decoding import BatchDecoder
from cloud_service.processing.engine.in_process import InProcessEngine
from cloud_service.redetection.messages import Answer, Start, Started
from icm.errors import IcmError

_LOWEST = 19
"""What nice(2) ends at."""
_NO_VIDEO = 1
"""Width of thumbnails; none are made."""


def main() -> None:
    """Serves the process that started this one, until that closes its end."""
    os.nice(_LOWEST)
    requests = sys.stdin.buffer
    # What libraries print goes to the log.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(message: Answer) -> None:
        pickle.dump(message, answers)
        answers.flush()

    try:
        start: Start = pickle.load(requests)
        engine = _engine(start)
    except EOFError:
        return
    except IcmError as error:
        answer(Problem.of(error))
        return
    answer(Started(engine.batch))
    while True:
        try:
            work: Work = pickle.load(requests)
        except EOFError:
            return
        answer(engine.submit(work).result())


def _engine(start: Start) -> InProcessEngine:
    return InProcessEngine(
        decoder=BatchDecoder(Bundles.load(start.bundles, start.threads, start.device)),
        detector=load_wanted(start.detector, start.device, start.threads, start.folder),
        renderer=SegmentRenderer(_NO_VIDEO),
        stage_seconds=Metrics("re-detection").stage_seconds,
        reuse=start.reuse,
    )


if __name__ == "__main__":
    main()
