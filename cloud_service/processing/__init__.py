"""From stored records to detections and the archive."""
