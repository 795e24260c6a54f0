"""ArchiveService: what is stored and what was seen, for other programs."""
