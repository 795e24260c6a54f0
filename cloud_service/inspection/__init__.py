"""Single frames of the past: decoded again, and looked into."""
