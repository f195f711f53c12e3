"""Starts a process that sends: python -m ringmill.loadtest.runner."""


def main() -> None:
    """Imports only what the process needs, after the poller is chosen."""
    from ringmill.transport.poller import use_classic_poller

    use_classic_poller()
    from ringmill.loadtest.runner import child

    child.main()


if __name__ == "__main__":
    main()
