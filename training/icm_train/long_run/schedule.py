"""The learning rate over a run that may end at any time: constant, then down to nothing once an end was ordered."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from icm.atomic_file import write_atomically
from icm_train.schedule import linear

_FILE = "finish.json"


@dataclass(frozen=True)
class Finish:
    """An ordered end.

    Attributes:
        start: step from which on the learning rate falls.
        steps: over which it falls to nothing.
    """

    start: int
    steps: int

    @property
    def end(self) -> int:
        """The run's last step."""
        return self.start + self.steps

    def order(self, folder: Path) -> None:
        """Tells the run in the folder, now or when it is next taken up."""
        write_atomically(folder / _FILE, json.dumps(asdict(self)))

    @staticmethod
    def read(folder: Path) -> Finish | None:
        """The end that was ordered for the run in the folder, or None."""
        try:
            return Finish(**json.loads((folder / _FILE).read_bytes()))
        except FileNotFoundError:
            return None


def share_of_peak(step: int, finish: Finish | None) -> float:
    """The share of the peak learning rate for the step after this many, 0..1."""
    if finish is None or step <= finish.start:
        return 1.0
    return linear((step - finish.start) / finish.steps)
