"""What a submission's folder claims, read without running any of it: `harness lint`."""
