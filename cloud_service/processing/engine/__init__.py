"""The engine: decodes, detects and renders."""
