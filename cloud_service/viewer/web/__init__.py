"""What all pages are made of: routes, templates, static files, headers, errors, the listener."""
