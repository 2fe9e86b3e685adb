"""What the installer sees: page, metrics, status."""
