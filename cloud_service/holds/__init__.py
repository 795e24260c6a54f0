"""Holds: stretches of time that no rule of retention deletes."""
