"""What a client asks for, whichever transport carries it."""

import uuid
from dataclasses import dataclass, replace
from typing import Any

from ringmill.v1 import processing_pb2 as pb

ACKS = {"": pb.ACK_LEVEL_UNSPECIFIED, "primary": pb.ACK_LEVEL_PRIMARY, "all": pb.ACK_LEVEL_ALL}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client asks for, whichever transport carries it."""

    pipeline: str
    producer: str = ""
    """Name that makes retries idempotent where the server deduplicates. The clients make one up if they are given
    none, which serves for as long as they live."""
    version: str = ""
    """Version that must be served, like "2" or "2.1.0"; empty: any."""
    ack: str = ""
    """ "primary", "all", or empty for the server's choice."""
    batch_events_max: int = 4096
    """Events a request. Larger ones cost less for each event and delay the first outcome."""
    in_flight_max: int = 8
    """Requests on their way. The server may allow fewer; more only help on long links."""
    timeout_s: float | None = 30.0
    """Longest that a call waits without any outcome coming, reconnecting included; None: for ever."""
    deadline_ms: int = 0
    """How long a request may wait on the server before its events are rejected DEADLINE; 0: for ever."""
    retry_s: float = 30.0
    """How long to go on dialling after a stream was lost; 0: not at all."""
    resend: bool = False
    """Whether to resend what was not answered also where the server does not deduplicate, and may apply it twice."""
    replay: bool = False
    """Whether the producer begins again at its first batch, sending the same batches as before, in place of going on
    after its last one: what was applied then is not applied again."""

    def validate(self) -> None:
        """Raises ValueError for settings that cannot work."""
        if not self.pipeline:
            raise ValueError("name the pipeline: Client(address, pipeline)")
        if self.ack not in ACKS:
            raise ValueError(f"ack must be one of 'primary' and 'all', not {self.ack!r}")
        if self.batch_events_max < 1 or self.in_flight_max < 1:
            raise ValueError("batch_events_max and in_flight_max must be at least 1")
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise ValueError("timeout_s must be above 0")
        if not 0 <= self.deadline_ms < 2**32:
            raise ValueError("deadline_ms must fit in 32 bits")
        if self.retry_s < 0:
            raise ValueError("retry_s must not be below 0")
        if self.replay and not self.producer:
            raise ValueError("replay needs the producer's name of the earlier run")


def make_settings(**given: Any) -> Settings:
    """Settings that can work, with a producer's name of their own where none was given. Raises ValueError."""
    settings = Settings(**given)
    settings.validate()
    return settings if settings.producer else replace(settings, producer=f"client-{uuid.uuid4()}")
