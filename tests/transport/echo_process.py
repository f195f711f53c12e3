"""An echo server in a process of its own, to freeze and to kill: prints its port; SIGTERM stops it with grace."""

import signal
import sys
from typing import Any

from ringmill.transport import make_loop
from ringmill.transport.api import Status, Stream
from ringmill.transport.poller import use_classic_poller

use_classic_poller()


class Echo:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def on_message(self, message: bytes) -> None:
        self.stream.send(message)

    def on_half_close(self) -> None:
        self.stream.finish()

    def on_drain(self) -> None: ...

    def on_close(self, status: Status) -> None: ...


def main(kind: Any) -> None:
    loop = make_loop(kind)
    server = loop.server({"/t.T/Call": Echo})
    print(server.listen("127.0.0.1:0"), flush=True)
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    loop.run()
    server.stop(5.0)
    loop.run_until(lambda: server.stopped, 10.0)
    print("stopped", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
