"""What happens in the model: ages, gaps, limits and sizes at the edges of the rules, and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from cloud_service.retention.execution import Step

HOUR = 3600
HOUR_US = HOUR * 1_000_000
YEARS_US = 3650 * 24 * HOUR_US
TOLERANCE_US = 5 * 60 * 1_000_000
"""That the clock may be ahead of what was trusted."""
DISK_BYTES, INODES = 400_000, 1000
BLOCK = 4096
BEFORE_US, AFTER_US = 10_000_000, 20_000_000
"""What a rule of keep takes along around a detection."""
TIER_OF = {".icm": "records", ".keyframe": "records", ".mp4": "video", ".jpg": "thumbnails"}
RAM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # what waits for a real disk is tested elsewhere

CAMERAS = st.sampled_from(["gate", "yard"])
EDGES_US = st.sampled_from([-1, 0, 1])
GAPS_US = st.sampled_from(
    [1, 9_000_000, BEFORE_US - 900_000, BEFORE_US - 900_000 + 1, AFTER_US - 900_000, AFTER_US - 900_000 + 1, HOUR_US]
)
"""From the last frame of a segment to the first of the next, at the edges of what keep takes along."""
LIMITS = st.one_of(st.none(), st.builds(lambda blocks, edge: blocks * BLOCK + edge, st.integers(1, 20), EDGES_US))
FOUND = st.sampled_from([{}, {}, {"person": 0.9}, {"person": 0.5}, {"person": 0.4}, {"car": 0.9}])
CRASHES = st.one_of(st.none(), st.none(), st.sampled_from(list(Step)), st.integers(1, 6))
"""After which step, or at which file that is unlinked."""
ORDER = ["video", "thumbnails", "quiet", "kept"]
PERSON: dict[str, Any] = {"classes": ["person"]}
SETTINGS = st.fixed_dictionaries(
    {
        "records": st.fixed_dictionaries(
            {
                "max_age_seconds": st.sampled_from([10 * HOUR, 10 * HOUR, None]),
                "min_age_seconds": st.sampled_from([0, 2 * HOUR, 2 * HOUR, 5 * HOUR]),
                "max_bytes_per_camera": st.one_of(st.none(), LIMITS),
            }
        ),
        "video": st.fixed_dictionaries({"max_age_seconds": st.sampled_from([None, 3 * HOUR, 12 * HOUR])}),
        "total": st.fixed_dictionaries(
            {
                "max_bytes": st.one_of(st.none(), LIMITS),
                "min_free_fraction": st.just(0.4),
                "min_free_inodes_fraction": st.just(0.1),
            }
        ),
        "quiet": st.fixed_dictionaries(
            {
                "max_age_seconds": st.sampled_from([5 * HOUR, None]),
                "then": st.sampled_from(["delete", "stills"]),
            }
        ),
        "keep": st.sampled_from(
            [[], [{"classes": ["person"]}], [{"classes": ["person"], "max_age_seconds": 20 * HOUR}]]
        ),
        "floor": st.fixed_dictionaries(
            {
                "order": st.sampled_from([ORDER, ORDER, ORDER, ["quiet", "video"], ["kept"], []]),
                "last_resort": st.sampled_from(["block", "delete_oldest"]),
            }
        ),
    }
).filter(
    lambda told: told["records"]["max_age_seconds"] is not None or not any("max_age_seconds" in k for k in told["keep"])
)
AGES = st.sampled_from([2 * HOUR_US, 3 * HOUR_US, 5 * HOUR_US, 10 * HOUR_US, 12 * HOUR_US, 20 * HOUR_US])
"""Of which each is a limit in some settings."""
