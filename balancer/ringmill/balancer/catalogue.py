"""What the workers of a cluster serve: all must serve the same, built with and for the same."""

from collections.abc import Mapping
from types import MappingProxyType

from ringmill.core.agreement import Served
from ringmill.core.errors import Code, RingmillError
from ringmill.internal.v1.link_pb2 import Registration

EVENTS_MAX = 16_384
"""Events a request may hold when the workers do not say."""


class Catalogue:
    """The pipelines served, and the platform they were compiled for."""

    def __init__(self, serves: str = "", platform: str = "") -> None:
        """serves, platform: as of the workers that have not dialled yet; empty: not known."""
        self.served: Mapping[str, Served] = MappingProxyType({})
        """By name, in the order that Part.pipeline counts."""
        self.serves = serves
        self.platform = platform

    def check(self, registration: Registration, others: list[str]) -> None:
        """Raises FAILED_PRECONDITION if this worker serves anything else than these others, naming what differs."""
        if not registration.pipelines or len(registration.pipelines) != len(registration.pipeline_names):
            raise RingmillError(Code.INVALID_ARGUMENT, f"worker {registration.name} serves no named pipelines")
        if not others:
            return
        who = f"{', '.join(others)} {'serves' if len(others) == 1 else 'serve'}"
        offered = _spell(_served(registration))
        if self.serves and offered != self.serves:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"worker {registration.name} serves {offered}, but {who} {self.serves}: start all from the same app",
            )
        if self.platform and registration.platform != self.platform:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"worker {registration.name} runs on {registration.platform or 'an unknown platform'}, but "
                f"{', '.join(others)} on {self.platform}: copies must agree to the last bit, so use the same "
                "versions and processors for all",
            )

    def adopt(self, registration: Registration) -> None:
        """This worker is in: what it serves is what is served."""
        served = _served(registration)
        self.served = MappingProxyType(served)
        self.serves = _spell(served)
        self.platform = registration.platform


def _served(registration: Registration) -> dict[str, Served]:
    limits = registration.events_max
    return {
        name: Served(name, index, description, limits[index] if index < len(limits) else EVENTS_MAX)
        for index, (name, description) in enumerate(
            zip(registration.pipeline_names, registration.pipelines, strict=True)
        )
    }


def _spell(catalogue: Mapping[str, Served]) -> str:
    return ", ".join(
        f"{served.name} {served.description.version} ({served.description.digest[:12] or 'no digest'}, "
        f"up to {served.events_max} events a request)"
        for served in catalogue.values()
    )
