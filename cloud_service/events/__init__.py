"""What detectors found: kept, and handed to whoever watches."""
