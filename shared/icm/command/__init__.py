"""The ``icm`` command."""
