"""What becomes of records when networks, disks, clocks and processes fail."""
