"""The commands of `ringmill`, one a file."""
