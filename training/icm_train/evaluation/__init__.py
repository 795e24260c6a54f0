"""What a codec's pictures are worth to a detector and to a person."""
