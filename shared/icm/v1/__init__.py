"""The contracts as Python: generated from ``proto/icm/v1``, by ``make proto``."""
