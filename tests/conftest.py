"""Settings of every test."""

from hypothesis import settings

# The first call of a kernel compiles it or loads it, which is no sign of a slow test.
settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")
