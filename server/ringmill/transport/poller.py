"""Chooses gRPC's classic poller, which halves the latency of a small message against the default one."""

import os

_EXPERIMENTS = "-event_engine_client,-event_engine_listener"


def use_classic_poller() -> None:
    """Makes gRPC poll sockets in the thread that waits on the completion queue, instead of in its own threads.

    gRPC reads the setting once, when it is first imported: so this must run before anything imports grpc, and has no
    effect afterwards. It concerns the whole process: only our own processes call it, never the client library, which
    lives in a user's process. A choice already made in the environment (GRPC_EXPERIMENTS) wins. The switch is an
    experiment of gRPC's: a release that drops it prints a line and goes on with its default.
    """
    os.environ.setdefault("GRPC_EXPERIMENTS", _EXPERIMENTS)
