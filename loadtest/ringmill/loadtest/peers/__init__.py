"""The processes of a benchmark: what Ringmill is measured against, and the clients that measure."""
