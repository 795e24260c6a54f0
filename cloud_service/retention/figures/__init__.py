"""What retention tells others: how it does, what lies on the disk, and when that will be full."""
