"""Evidence files: what was recorded, as a zip that a stranger can check. docs/evidence.md says what it proves."""
