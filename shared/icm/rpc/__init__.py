"""gRPC as both services use it: channels, servers and the mapping of errors to statuses."""
