"""Benchmarks: throughput and latency, each figure against something else measured in the same run."""
