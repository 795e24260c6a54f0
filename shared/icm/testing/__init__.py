"""Real services as child processes, what they say, and files to run them on; for the demo, benchmarks and tests."""
