"""Emulated chips: pure, answering bytes at register and frame level, with the faults real ones have."""
