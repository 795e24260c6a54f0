"""What coding, storing and sending cost."""
