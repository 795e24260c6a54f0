"""The payloads of I records and of P records without motion."""
