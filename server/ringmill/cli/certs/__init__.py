"""Certificates to begin with: an authority of one's own, and what it signs."""
