"""The ``icm-cloud`` command: what must be there before anything that takes time is loaded."""

from __future__ import annotations

import sys

try:
    from icm.service.command_line import TYPE_CHECKING, start
except KeyboardInterrupt:
    sys.exit(130)

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, see ``cloud_service.commands.run``.

    Args:
        arguments: None for those of this process, whose signals are then handled as well.
    """
    return start("icm-cloud", "cloud_service.commands", "cloud", arguments)


if __name__ == "__main__":
    sys.exit(main())
