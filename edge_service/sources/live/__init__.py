"""What the process that holds a camera open is made of; it loads little more than FFmpeg."""
