"""Mistakes to be planted in the production code, one at a time: each must be found."""

from typing import Any

MISTAKES: dict[str, Any] = {}
