"""Figures as pages, pictures and plots."""
