"""The ``icm-train`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from icm.service.command_line import start


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, see ``icm_train.commands.run``."""
    return start("icm-train", "icm_train.commands", "train", sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
