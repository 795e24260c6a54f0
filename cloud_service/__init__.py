"""The cloud: takes coded records in, keeps them, looks at them with a detector and renders them for people."""
