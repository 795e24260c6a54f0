"""Pictures and videos as people bring them, read as people see them."""
