"""What the router wants done, and what it is told of a worker's answer."""

from typing import NamedTuple

from ringmill.core.errors import Code


class Send(NamedTuple):
    """Send a response to a client."""

    stream: int
    message: bytes


class SendFrame(NamedTuple):
    """Send a frame to a worker; `link_drained` is to follow."""

    link: int
    frame: bytes


class Finish(NamedTuple):
    """End a stream, after all that was sent."""

    stream: int
    code: Code
    detail: str


class Pause(NamedTuple):
    """Stop reading a stream."""

    stream: int


class Resume(NamedTuple):
    """Read a stream again."""

    stream: int


Effect = Send | SendFrame | Finish | Pause | Resume


Result = tuple[int, bytes, int, str, bool, int, bool]
"""A worker's answer, as `PartResult` has it: part, encoded ProcessResponse, gRPC status with which the batch must end
its stream (0: none), its reason, whether nothing was applied and the part is to be routed again, the view that says so,
and whether the answer comes before all replicas hold the part."""
