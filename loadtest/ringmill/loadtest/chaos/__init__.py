"""Chaos with real processes: they are killed and frozen under load, and every acknowledgement is checked afterwards."""
