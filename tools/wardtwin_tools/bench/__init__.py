"""Benchmarks: ratios against ceilings taken in the same run, one JSON object each."""
