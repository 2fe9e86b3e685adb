"""The `wardtwin` command: demo, replay, tag, bench, doctor."""
