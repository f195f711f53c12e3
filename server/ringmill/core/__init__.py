"""Shared and pure: hashing, placement, the wire format, the codec, split and merge."""
