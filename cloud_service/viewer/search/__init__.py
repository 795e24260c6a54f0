"""Search and review: sightings by what, where and when, and which of them somebody has seen."""
