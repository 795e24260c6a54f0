"""What latents are predicted from: those of the reference, held and of another quality."""
