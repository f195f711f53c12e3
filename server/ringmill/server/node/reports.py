"""What the view manager must know: said at once, and again until a newer view answers it."""

from ringmill.core.view import View
from ringmill.internal.v1.link_pb2 import CaughtUp, Diverged, JoinRequest, Report, Sealed
from ringmill.server.node.roles import Process, Roles, process_at


class Reports:
    """What no view has answered yet."""

    def __init__(self, report_ns: int) -> None:
        self._report_ns = report_ns
        self._caught_up: dict[int, CaughtUp] = {}
        self._sealed: dict[int, Sealed] = {}
        self._diverged: dict[tuple[int, Process], Diverged] = {}
        self._silent: list[str] = []
        self._news = False
        self._said_ns = 0

    def caught_up(self, partition: int, epoch: int, learner: Process, version: int) -> None:
        """A learner may be counted."""
        name, incarnation = learner
        self._caught_up[partition] = CaughtUp(
            partition=partition, epoch=epoch, learner=name, incarnation=incarnation, version=version
        )
        self._news = True

    def not_caught_up(self, partition: int) -> None:
        """It may not, after all."""
        self._caught_up.pop(partition, None)

    def sealed(self, partition: int, epoch: int, heir: Process, version: int) -> None:
        """An heir may take over."""
        self._sealed[partition] = Sealed(partition=partition, epoch=epoch, heir=heir[0], version=version)
        self._news = True

    def diverged(self, partition: int, epoch: int, copy: Process, version: int) -> bool:
        """A copy is not what it should be. False: that was said before."""
        if (partition, copy) in self._diverged:
            return False
        self._diverged[partition, copy] = Diverged(
            partition=partition, epoch=epoch, replica=copy[0], incarnation=copy[1], version=version
        )
        self._news = True
        return True

    def silent(self, names: list[str]) -> None:
        """These owe an acknowledgement for too long, and no others."""
        self._news |= bool(set(names) - set(self._silent))
        self._silent = names

    def obey(self, before: View, view: View, roles: Roles) -> None:
        """Forgets what a newer view has answered. roles: what this worker is in it."""
        if not (self._caught_up or self._sealed or self._diverged):
            return
        mine = set(roles.primary.tolist())
        self._caught_up = {
            partition: said
            for partition, said in self._caught_up.items()
            if partition in mine and process_at(view, int(view.learners[partition])) == (said.learner, said.incarnation)
        }
        if view.version == before.version + 1:  # else the learner may have been another in between
            for said_caught_up in self._caught_up.values():
                said_caught_up.version = view.version
        self._sealed = {
            partition: said
            for partition, said in self._sealed.items()
            if partition in mine and _name(view, int(view.heirs[partition])) == said.heir
        }
        for said_sealed in self._sealed.values():
            said_sealed.version = view.version
        self._diverged = {
            (partition, copy): said
            for (partition, copy), said in self._diverged.items()
            if partition in mine
            and said.epoch == int(view.epochs[partition])
            and copy in _copies(before, partition)
            and copy in _copies(view, partition)
        }
        for said_diverged in self._diverged.values():
            said_diverged.version = view.version  # else it would be void once another copy was added

    def say(self, now_ns: int) -> bytes:
        """Encoded JoinRequest with all that is unanswered, if some of it is new or it was not said for a while."""
        if not (self._news or now_ns - self._said_ns >= self._report_ns):
            return b""
        self._news, self._said_ns = False, now_ns
        report = Report(
            caught_up=self._caught_up.values(),
            sealed=self._sealed.values(),
            diverged=self._diverged.values(),
            silent=self._silent,
        )
        return JoinRequest(report=report).SerializeToString() if report.ByteSize() else b""

    def again(self) -> None:
        """All is to be said at once: there is a new link."""
        self._news = True


def _name(view: View, seat: int) -> str:
    process = process_at(view, seat)
    return process[0] if process is not None else ""


def _copies(view: View, partition: int) -> list[Process | None]:
    """The in-sync copies of a partition beside its primary."""
    if partition >= view.partitions:
        return []
    return [process_at(view, seat) for seat in view.replicas[partition].tolist()]
