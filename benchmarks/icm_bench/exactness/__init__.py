"""Whether bits decode to the same latents everywhere."""
