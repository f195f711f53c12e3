"""Looks for the highest rate at which something holds. Pure: told of each try, it says what to try next."""

from dataclasses import dataclass, field

RATE_LEAST = 1.0
"""Below this nothing is looked for."""


@dataclass(slots=True)
class RateSearch:
    """Doubles the rate until it fails, then halves what lies between; a rate that fails is tried again first."""

    rate: float
    """What to try next."""
    rate_max: float
    within: float
    tries: int
    kept: float | None = None
    """Highest rate that held."""
    failed: float | None = None
    """Lowest rate that failed."""
    _failures: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.rate = min(self.rate, self.rate_max)

    @property
    def done(self) -> bool:
        """Whether there is nothing more to try."""
        if self.kept is None:
            return self.failed is not None and self.failed <= RATE_LEAST
        if self.failed is None:
            return self.kept >= self.rate_max
        return self.failed <= self.kept * (1 + self.within)

    def hear(self, held: bool) -> None:
        """Hears whether it held at `rate`."""
        if held:
            self.kept = self.rate if self.kept is None else max(self.kept, self.rate)
        else:
            self._failures += 1
            if self._failures < self.tries:
                return
            self.failed = self.rate if self.failed is None else min(self.failed, self.rate)
        self._failures = 0
        self.rate = self._next()

    def _next(self) -> float:
        if self.failed is None:
            return min(self.rate * 2, self.rate_max)
        if self.kept is None:
            return max(self.rate / 2, RATE_LEAST)
        return float((self.kept * self.failed) ** 0.5)
