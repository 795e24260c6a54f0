"""What a record carries exactly: latents, and of a frame with motion its field and the memory of its background."""
