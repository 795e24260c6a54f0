"""Evidence files: what was recorded, as a zip that a stranger can check. docs/evidence-files.md says what it proves."""
