"""What training a codec is, step by step: recipe, photos, optimisers, measurement, and the duels that chose them."""
