"""The demo: a year of real flights through a whole cluster, and a check of what came back."""
