"""What waits for a stream: all that gathers while a write is in flight goes as one message."""

from ringmill.server.node.effects import Chunk
from ringmill.transport.api import Stream

FRAME_BYTES_MAX = 256 << 20
"""A frame carries many parts or records, so it may be larger than any one request."""
_JOINED_BYTES_MAX = 32 << 20
"""Chunks are joined up to this size; a larger one goes alone."""


class Outgoing:
    """Chunks for one stream, in order."""

    __slots__ = ("_chunks", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._chunks: list[Chunk] = []

    def add(self, chunk: Chunk) -> None:
        """Appends fields of a message."""
        self._chunks.append(chunk)

    def flush(self) -> None:
        """Sends what waits, unless a write is in flight: then it goes when that is done."""
        if self._chunks and not self._stream.writing:
            chunks = self._chunks
            if len(chunks) > 1:
                chunks = self._take()
            else:
                self._chunks = []
            self._stream.send(b"".join(chunks))

    def _take(self) -> list[Chunk]:
        size = 0
        for count, chunk in enumerate(self._chunks):
            size += len(chunk)
            if size > _JOINED_BYTES_MAX and count:
                taken, self._chunks = self._chunks[:count], self._chunks[count:]
                return taken
        taken, self._chunks = self._chunks, []
        return taken
