"""The contract between gateway and cloud: registry, batch, ack. Standard library and msgspec only."""
