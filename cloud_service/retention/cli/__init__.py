"""``icm-cloud retention``, beside a cloud that may run."""
