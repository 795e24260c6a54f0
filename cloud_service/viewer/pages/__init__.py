"""Pages about the viewer itself, and the list of cameras."""
