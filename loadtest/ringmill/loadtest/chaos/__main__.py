"""Starts a process that loads or probes a cluster: python -m ringmill.loadtest.chaos load|probe SETTINGS (JSON)."""

import importlib
import json
import sys


def main() -> None:
    """Imports only what the process needs, after the poller is chosen."""
    from ringmill.transport.poller import use_classic_poller

    use_classic_poller()
    module, settings = sys.argv[1:]
    importlib.import_module(f"ringmill.loadtest.chaos.{module}").main(**json.loads(settings))


if __name__ == "__main__":
    main()
