"""What training sees: photos, masks and made clips."""
