"""What an edge holds against its cloud: heads of chains that it has witnessed, and seals on what it sends."""
