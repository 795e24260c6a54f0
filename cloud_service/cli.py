"""The ``icm-cloud`` command: what must be there before anything that takes time is loaded."""

from __future__ import annotations

import sys

try:
    from icm.service.interrupts import TYPE_CHECKING, run_quietly
except KeyboardInterrupt:
    sys.exit(130)

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, see ``cloud_service.commands.run``.

    Args:
        arguments: None for those of this process, whose signals are then handled as well.
    """

    def run() -> int:
        from icm.errors import IcmError

        try:
            from cloud_service.commands import run
        except IcmError as error:
            # The compiled part of the codec is missing, or not this version's.
            print(f"icm-cloud: {error}", file=sys.stderr)
            return 2
        return run(arguments)

    return run() if arguments is not None else run_quietly("icm-cloud", run)


if __name__ == "__main__":
    sys.exit(main())
