"""How commands start, and how they end when they are interrupted or nobody reads what they print: without a traceback.

A command's module imports this and nothing else, and this next to nothing: until it runs, an interruption is Python's.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # typing's own takes longer to import than all else here
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What people, terminals and service managers stop a process with; a terminal that is closed sends SIGHUP."""
EXIT_UNREAD = 128 + signal.SIGPIPE
"""Exit status when the reader of what a command prints is gone, as a shell shows that of a program killed by it."""
STANDARD_OUTPUT = "standard output"
"""As the file that an error names."""
_EXIT_UNWRITTEN = 2
_EXIT_INCOMPLETE = 2
_OURS = ("icm", "icm_train", "icm_bench", "edge_service", "cloud_service")


def start(
    name: str,
    module: str,
    extra: str,
    arguments: Sequence[str] | None,
    tidy: Callable[[signal.Signals], None] | None = None,
) -> int:
    """Loads a command's module and runs it; returns its exit status.

    Args:
        name: of the command.
        module: dotted name of the module that does the work; it has ``run(arguments) -> int``.
        extra: the extra of the project that installs what the command needs.
        arguments: None for those of this process, whose signals are then handled as well.
        tidy: as for ``run_quietly``.
    """

    def run() -> int:
        import importlib

        from icm.errors import IcmError

        try:
            work = importlib.import_module(module)
        except IcmError as error:
            # The compiled part of the codec is missing, or not this version's.
            print(f"{name}: {error}", file=sys.stderr)
            return _EXIT_INCOMPLETE
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] in _OURS:
                raise
            wanted = f"pip install 'icm-bridge[{extra}]'"
            print(f"{name}: the package {error.name} is not installed: {wanted}", file=sys.stderr)
            return _EXIT_INCOMPLETE
        status: int = work.run(arguments)
        return status

    return run() if arguments is not None else run_quietly(name, run, tidy)


def heeded() -> list[signal.Signals]:
    """Those of ``STOPS`` that end this process; ``nohup`` has it ignore SIGHUP, so that it outlives its terminal."""
    return [one for one in STOPS if one != signal.SIGHUP or signal.getsignal(one) != signal.SIG_IGN]


def run_quietly(name: str, run: Callable[[], int], tidy: Callable[[signal.Signals], None] | None = None) -> int:
    """Runs this process's command; returns its exit status.

    Until ``run`` sets up something better, a signal to stop ends the process on the spot.

    Args:
        name: of the command, for the one line on stderr when what it prints cannot be written.
        tidy: called before such an end.
    """
    status: int | None = None

    def leave(number: int, frame: FrameType | None) -> None:
        # Not by an exception: that would come up in the middle of any library, which may print and swallow it.
        if status is not None:
            os._exit(status)
        if tidy is not None:
            tidy(signal.Signals(number))
        # Shells and service managers want to see what ended it; the first process of a container is not ended so.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)

    for number in heeded():
        signal.signal(number, leave)
    try:
        status = run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, SystemExit) as error:
        # A help text ends with SystemExit, and may have found no reader either.
        unwritten = _unwritten(error)
        if unwritten is None:
            raise
        status = EXIT_UNREAD
        if not isinstance(unwritten, BrokenPipeError):
            status = _EXIT_UNWRITTEN
            print(f"{name}: cannot write {STANDARD_OUTPUT}: {unwritten.strerror}", file=sys.stderr)
    return status


def say(text: str) -> None:
    """Prints a line, so that ``run_quietly`` knows where an error comes from."""
    try:
        print(text, flush=True)
    except OSError as error:
        error.filename = STANDARD_OUTPUT
        raise


def _unwritten(error: BaseException) -> OSError | None:
    """Why what was printed cannot be written, or None if that is not it; then nothing more is tried."""
    found = error if isinstance(error, OSError) and error.filename == STANDARD_OUTPUT else None
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as reason:
            found = found or reason
            # What is left would be tried again, in vain, when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return found
