"""What parts of the service tell each other beside the way of a record."""
