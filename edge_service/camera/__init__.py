"""One camera's stages: from its source to its spool."""
