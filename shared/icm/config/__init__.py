"""What services are told: settings files, addresses, and files that are read again when they change."""
