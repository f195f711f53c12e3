"""The compiled codec: built from the message descriptor, no Python object for each event."""
