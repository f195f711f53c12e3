"""The state that a manager begins with, and what is wrong with it."""

import numpy as np

from ringmill.balancer.rules import Rules
from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import NOBODY
from ringmill.core.view import View, view_from_proto
from ringmill.internal.v1.link_pb2 import Registration
from ringmill.internal.v1.store_pb2 import State


def no_view(rules: Rules, cluster: str) -> View:
    """What there is before a cluster has formed."""
    return View(0, cluster, (), np.full(rules.partitions, NOBODY, np.int32))


def loaded(rules: Rules, state: State) -> View:
    """The view of a stored state; one of version 0 if there is none. Raises FAILED_PRECONDITION if the rules are those
    of another cluster."""
    if rules.cluster and state.cluster and state.cluster != rules.cluster:
        raise RingmillError(
            Code.FAILED_PRECONDITION, f"the stored state is of cluster {state.cluster!r}, not {rules.cluster!r}"
        )
    if not state.HasField("view"):
        return no_view(rules, state.cluster or rules.cluster)
    view = view_from_proto(state.view)
    if view.partitions != rules.partitions:
        raise RingmillError(
            Code.FAILED_PRECONDITION,
            f"the stored state has {view.partitions} partitions, not {rules.partitions}: give it another folder, or "
            f"--partitions {view.partitions}",
        )
    return view


def behind(registration: Registration, view: View) -> RingmillError:
    """Why a manager must not go on when a worker obeys a view that it does not know."""
    return RingmillError(
        Code.FAILED_PRECONDITION,
        f"worker {registration.name} obeys view {registration.view_version} of cluster {view.cluster!r}, and the "
        f"stored state ends at view {view.version}: it is an old copy, and going on from it would lose data. Start "
        "the balancer with the newest state, or all workers anew",
    )
