"""The services about what is kept: storage and its rules, verifications, re-detections."""
