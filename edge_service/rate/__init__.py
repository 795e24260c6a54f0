"""Rate control, and what is known of the link."""
