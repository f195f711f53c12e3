"""The load-test runner: a scenario against a cluster, latency from the moment that each event was due."""
