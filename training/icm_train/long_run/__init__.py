"""The long run: one core that trains a codec's transforms for days, stopped and taken up again at any time."""
