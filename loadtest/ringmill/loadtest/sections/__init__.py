"""What is measured, a file for each kind of figure. A section yields figures, or raises Unavailable."""
