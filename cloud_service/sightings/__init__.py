"""Sightings: boxes of one object over time, what is searched of them, and how active each camera was."""
