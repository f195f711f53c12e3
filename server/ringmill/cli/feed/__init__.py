"""Tables on disk as streams of events, and outcomes as tables."""
