"""What clients get and ask for about what a cloud keeps: storage, verifications, re-detections."""
