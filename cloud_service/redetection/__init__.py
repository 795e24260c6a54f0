"""Looking at stored frames again with other weights, beside the live work and after it."""
