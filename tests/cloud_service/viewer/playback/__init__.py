"""Tests of the camera page and what it loads."""
