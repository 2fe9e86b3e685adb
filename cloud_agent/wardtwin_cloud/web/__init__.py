"""What people see: pages, strings, assets."""
