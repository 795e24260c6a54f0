"""The tests mirror the folders of what they test."""

import os

# Before anything counts cores: a worker of pytest-xdist has its share of them, and so has what it starts.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
