"""What an operator asks of a running cluster, by its AdminService."""
