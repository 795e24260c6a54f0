"""Clips: any stretch of a camera's past as one MP4, cut out of the archive's videos or rendered from records."""
