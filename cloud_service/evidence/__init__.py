"""Evidence files: what is stored of cameras in a range of time, put together for people outside. docs/evidence.md."""
