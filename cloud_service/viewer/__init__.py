"""The archive for people: pages over HTTP, in a process of their own (``icm-cloud viewer``)."""
