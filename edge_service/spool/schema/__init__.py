"""The steps that bring a spool file of any earlier release up to date, a module each, with its ``STATEMENTS``."""
