"""Evidence files: what is stored of cameras in a range of time, for people outside; see docs/evidence-files.md."""
