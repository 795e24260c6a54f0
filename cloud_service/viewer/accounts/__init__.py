"""Who looks: users, sessions, tokens, what they may do, and what was done."""
