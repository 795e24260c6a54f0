"""Certificates of edges and readers: an authority of one's own, what its certificates say, and which were revoked."""
