"""The ``icm`` command: what must be there before anything that takes time is loaded."""

from __future__ import annotations

import os
import sys

try:
    import signal

    from icm.service.command_line import TYPE_CHECKING, start
except KeyboardInterrupt:
    sys.exit(130)

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, see ``icm.command.commands.run``.

    Args:
        arguments: None for those of this process, whose signals are then handled as well.
    """

    return start("icm", "icm.command.commands", "edge", arguments, _tidy)


def _tidy(number: signal.Signals) -> None:
    # Nothing is imported in the middle of whatever was interrupted; what is not loaded has left nothing.
    written = sys.modules.get("icm.atomic_file")
    if written is not None and hasattr(written, "delete_unfinished"):
        written.delete_unfinished()
    word = "interrupted" if number == signal.SIGINT else "told to stop"
    os.write(2, f"icm: {word}; files already finished are kept\n".encode())


if __name__ == "__main__":
    sys.exit(main())
