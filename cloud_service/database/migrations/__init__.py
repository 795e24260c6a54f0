"""The steps that bring a database of any earlier release up to date, in Alembic's form, each a file in ``versions``."""
