"""The seals of edges over their records: kept beside the chains, and checked."""
