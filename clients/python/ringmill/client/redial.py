"""When to dial again after a stream was lost, and when to give up: pure, time and chance are handed in."""

from ringmill.core.errors import Code

RESUMES_MAX = 8
"""How often in a row a session is resumed without any progress: a batch may break every stream that it is sent on."""
BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 1.0

RESUMABLE = frozenset({Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN, Code.CANCELLED})
"""Ends after which the same batches may be sent again. The last two are what a proxy's reset of a stream looks like;
a caller who cancels has ended the session before its stream says so."""


class Redial:
    """Counts what was tried since there was last any progress."""

    def __init__(self, retry_s: float) -> None:
        self._retry_s = retry_s
        self._tries = 0
        self._resumes = 0
        self._lost_s: float | None = None
        self.why = ""
        """Why it was given up."""

    def calm(self) -> None:
        """Nothing is missing: the next loss is the first."""
        self._tries = self._resumes = 0
        self._lost_s = None

    def delay_s(self, opened: bool, now_s: float, jitter: float) -> float | None:
        """How long to wait before the next dial, after a stream that the server had opened, or not; None: give up.

        jitter: 0 to 1, by chance: many clients of one balancer must not all come back at once.
        """
        if opened:
            self._lost_s = None
            self._resumes += 1
        if self._lost_s is None:
            self._lost_s = now_s
        if self._resumes > RESUMES_MAX:
            self.why = f"resumed {RESUMES_MAX} times in a row without any progress"
            return None
        if now_s - self._lost_s >= self._retry_s:
            self.why = f"no stream could be opened for {self._retry_s:g} s"
            return None
        self._tries += 1
        backoff_s = min(BACKOFF_FIRST_S * 2.0 ** min(self._tries - 1, 16), BACKOFF_MAX_S)
        return backoff_s * (0.5 + 0.5 * jitter)
