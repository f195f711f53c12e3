"""Envoy as the edge of a cluster: its bootstrap, and its process."""
