"""Starts one process of a benchmark: python -m ringmill.loadtest.peers NAME [ADDRESS...]."""

import importlib
import sys


def main() -> None:
    """Imports only what the process needs, because gRPC's poller is chosen when grpc is imported."""
    module, _, function = sys.argv[1].partition(".")
    if module == "ours":
        from ringmill.transport.poller import use_classic_poller

        use_classic_poller()
    getattr(importlib.import_module(f"ringmill.loadtest.peers.{module}"), function)(*sys.argv[2:])


if __name__ == "__main__":
    main()
