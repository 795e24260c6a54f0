"""``python -m training.long_run`` is ``icm-train long``: how a run is started in the background."""

import sys

from training.cli import main

sys.exit(main(["long", *sys.argv[1:]]))
