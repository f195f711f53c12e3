"""What waits for a stream: all that gathers while a write is in flight goes as one message."""

from collections import deque

from ringmill.server.node.effects import Chunk
from ringmill.transport.api import Stream

FRAME_BYTES_MAX = 256 << 20
"""A frame carries many parts or records, so it may be larger than any one request."""
_JOINED_BYTES_MAX = 8 << 20
"""Chunks are joined up to this size; a larger one goes alone."""
_JOINED_CHUNKS_MAX = 4096
"""And up to so many: whoever takes a message says nothing else until it is through with all of it."""


class Outgoing:
    """Chunks for one stream, in order."""

    __slots__ = ("_chunks", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._chunks: deque[tuple[Chunk, bool]] = deque()
        """Each with whether it goes on with the one before, so that it must not begin a message."""

    def add(self, chunk: Chunk, follows: bool = False) -> None:
        """Appends fields of a message. follows: the chunk goes on with the one before."""
        self._chunks.append((chunk, follows))

    def flush(self) -> None:
        """Sends what waits, unless a write is in flight: then it goes when that is done."""
        if self._chunks and not self._stream.writing:
            self._stream.send(b"".join(self._take()))

    def _take(self) -> list[Chunk]:
        chunks = self._chunks
        taken: list[Chunk] = []
        size = whole = 0
        while chunks:
            chunk, follows = chunks.popleft()
            if not follows:
                whole = len(taken)
            taken.append(chunk)
            size += len(chunk)
            if (size > _JOINED_BYTES_MAX or len(taken) > _JOINED_CHUNKS_MAX) and whole:
                while len(taken) > whole:  # the record that is too much, or its beginning
                    chunks.appendleft((taken.pop(), len(taken) > whole))
                break
        return taken
