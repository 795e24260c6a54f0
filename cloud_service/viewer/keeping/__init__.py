"""What is kept, for how long, whether it is whole, and what works on it: holds, storage, integrity, jobs."""
