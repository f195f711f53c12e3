"""What the hub hands on because it is neither client nor worker: disk, probes, the supervisor, the end."""

from typing import Protocol

from ringmill.balancer.orders import Fatal, Probe, Store, Want


class Edges(Protocol):
    """Answers come back through the hub: `Hub.probed` and `Hub.stored`, on the loop's thread and never from inside."""

    def probe(self, order: Probe) -> None:
        """Finds out whether anybody listens at an address."""

    def store(self, order: Store) -> None:
        """Makes a state durable."""

    def want(self, order: Want) -> None:
        """Tells which workers should run."""

    def fatal(self, order: Fatal) -> None:
        """Ends the process."""
