"""Bounds of what a router holds."""

from dataclasses import dataclass, field

from ringmill.core.agreement import StreamLimits


@dataclass(frozen=True, slots=True)
class RouterLimits:
    """Bounds of what the router holds."""

    streams: StreamLimits = field(default_factory=StreamLimits)
    bytes_in_flight_max: int = 1 << 30
    """Unanswered request bytes of all streams. Each may hold an even share, and the request that passes it."""
    link_bytes_max: int = 8 << 20
    """Request bytes that may wait for one link. Streams that send it more are not read until half is gone."""
    frame_bytes_max: int = 1 << 20
    """A frame takes parts until it is this large: larger frames delay what comes behind them."""
    settle_ms: int = 5_000
    """How long what lost its worker may look for another, before its stream ends."""
    retention_ms: int = 3_600_000
    """How long a producer without a stream may still resume its session."""
    producers_max: int = 2048
    """Producers without a stream that are remembered for so long; the longest idle are forgotten first."""
    identities_max: int = 4096
    """Producers and streams that workers are to know at once, the idle included: beyond that no stream is opened. Each
    worker has room for several times as many, so that a copy never has too little for what its primaries took."""
