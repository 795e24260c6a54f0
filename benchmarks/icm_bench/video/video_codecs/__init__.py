"""The codecs that ``icm-bench video`` compares, a clip at a time."""
