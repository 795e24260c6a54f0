"""What an archive costs."""
