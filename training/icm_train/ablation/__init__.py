"""What each choice of the papers' stages is worth."""
