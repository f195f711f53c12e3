"""Handing partitions over: from when a view names an heir, a partition takes nothing new (`Ledger.held`), and once all
that it took is committed it is sealed for the heir, which the balancer is told.
"""

from collections.abc import Sequence

from ringmill.core.view import View
from ringmill.server.node.pending import Pendings
from ringmill.server.node.reports import Reports
from ringmill.server.node.roles import PRIMARY, Process, Roles, process_at


class Sealing:
    """This worker's partitions that have an heir. Used by one thread."""

    def __init__(self, roles: Roles, reports: Reports, view: View) -> None:
        self.view = view
        """That is obeyed: newer than the heirs are, while they are being taken over."""
        self._roles = roles
        self._reports = reports
        self._heirs: dict[int, Process] = {}

    def obey(self, view: View, sealing: Sequence[int], pendings: Pendings) -> None:
        """Begins, goes on with, or ends the sealing of partitions. sealing: those that have an heir in this view."""
        heirs: dict[int, Process] = {}
        for partition in sealing:
            heir = process_at(view, int(view.heirs[partition]))
            assert heir is not None
            heirs[partition] = heir
        before, self._heirs = self._heirs, heirs
        for partition in before:
            if partition not in heirs:
                pendings.unseal(partition)
        sealed = self._roles.sealed_for
        for partition in [each for each in sealed if self._roles.role[each] == PRIMARY and each not in heirs]:
            del sealed[partition]
        begun = [each for each in heirs if each not in before]
        if begun:
            pendings.seal(begun, view.partitions)
        for partition in heirs:
            if partition in before and partition in sealed and sealed[partition] != heirs[partition]:
                self.sealed(partition)

    def sealed(self, partition: int) -> None:
        """Nothing that touches the partition is pending any more."""
        heir = self._heirs[partition]
        self._roles.sealed_for[partition] = heir
        self._reports.sealed(partition, int(self.view.epochs[partition]), heir, self.view.version)
