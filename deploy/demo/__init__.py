"""The whole pipeline on one machine, with a real clip: ``python -m deploy.demo``."""
