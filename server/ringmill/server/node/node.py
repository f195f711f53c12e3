"""A worker under a balancer, as one state machine: frames, breaks and time in, effects out.

    link_frame   parts from the balancer: examine, apply, copy, answer once all copies have it    `serving.py`
    peer_frame   acknowledgements of my copies                                                   `channel.py`
    guest_frame  records of the primaries that I copy                                            `guest.py`
    obey         a newer view, from wherever it came                                             `roles.py`

Everything that it wants done is appended to `effects`; whoever feeds it performs them, in order, and clears the list.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np
from google.protobuf.message import DecodeError

from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import PartEntry, PartsReader
from ringmill.core.maglev import NOBODY
from ringmill.core.memory import Bytes
from ringmill.core.split import Splitter
from ringmill.core.view import View, view_from_proto, view_to_proto
from ringmill.engine.ledger import NOBODY as NO_SOURCE
from ringmill.engine.ledger import Ledger
from ringmill.engine.outcomes import Outcomes
from ringmill.internal.v1.link_pb2 import (
    Heartbeat,
    JoinRequest,
    JoinResponse,
    Refused,
    ReplicateRequest,
    ReplicateResponse,
)
from ringmill.server.lane import Lane
from ringmill.server.node.answers import heartbeat, registration
from ringmill.server.node.audit import Auditor
from ringmill.server.node.channel import Channel, Held
from ringmill.server.node.channels import Channels
from ringmill.server.node.copying import Copying
from ringmill.server.node.effects import Dial, Effect, Fatal, Hangup, Obeyed, ToLink, UnfitError
from ringmill.server.node.guest import Guests
from ringmill.server.node.identity import Identity, Rules
from ringmill.server.node.mending import Mending
from ringmill.server.node.pending import Pending, Pendings
from ringmill.server.node.reports import Reports
from ringmill.server.node.roles import PRIMARY, Process, Roles, process_at
from ringmill.server.node.sealing import Sealing
from ringmill.server.node.seeding import Seed, Seeding
from ringmill.server.node.serving import Serving
from ringmill.server.node.store import Store

_RETRY_NS = 500_000_000
_MILLISECOND_NS = 1_000_000

logger = logging.getLogger("ringmill.worker")


class Node:
    """One process of a worker. Used by one thread."""

    def __init__(self, identity: Identity, lanes: Sequence[Lane], ledger: Ledger, rules: Rules | None = None) -> None:
        """lanes: one for each pipeline, with empty tables. ledger: empty, for as many partitions as the lanes have."""
        self.identity = identity
        self.rules = rules = rules or Rules()
        self.effects: list[Effect] = []
        self.view = View(0, "", (), np.full(ledger.partitions, NOBODY, np.int32))
        """The newest view it has heard of; version 0: none."""
        self.process: Process = (identity.name, identity.incarnation)
        self.lanes = lanes
        self.ledger = ledger
        for lane in lanes:
            lane.engine.own(np.ones(ledger.partitions, np.uint8))  # the ledger says what is refused
        self.outcomes = Outcomes(
            ledger.partitions,
            lambda pipeline, columns, count: lanes[pipeline].engine.encode_columns(columns, count),
            rules.producer_outcomes_bytes,
            rules.outcomes_bytes,
        )
        self.roles = Roles(self.process, ledger.partitions)
        self.channels = Channels(ledger, self.roles, self.effects)
        self._reports = Reports(rules.report_ns)
        self._sealing = Sealing(self.roles, self._reports, self.view)
        self.pendings = Pendings(self._sealing.sealed)
        self._store = Store(lanes, ledger, self.outcomes)
        events_max = max((lane.served.events_max for lane in lanes), default=1)
        self._serving = Serving(
            lanes,
            ledger,
            self.outcomes,
            Splitter(ledger.partitions, events_max, rules.request_bytes_max),
            self.channels,
            self.pendings,
            self.effects,
        )
        self._seeding = Seeding(ledger, self._store, self.channels, rules, self._caught_up)
        self._auditor = Auditor(ledger, self._store, self.roles, self.channels, rules, self._differs)
        self._mending = Mending(ledger, self._store, self.roles, self.channels, rules, self._mended, self._differs)
        copying = Copying(lanes, ledger, self.outcomes, self._store, self.roles)
        self._guests = Guests(self.process, copying, self.effects)
        self._guests.on_view = self._obey
        self._reader = PartsReader()
        self._view_frame = b""
        self._healing: set[int] = set()
        self._healed = 0
        self._linked = False
        self._leaving = False
        self._heartbeat_ns = rules.heartbeat_ns
        self._beat_ns = 0
        self._retried_ns = 0
        self._now_ns = 0

    def link_up(self, now_ns: int) -> None:
        """A stream to the balancer is open: registers."""
        self._now_ns = now_ns
        self._linked = True
        self._beat_ns = now_ns
        request = JoinRequest(
            registration=registration(self.identity, self.lanes, self.view), heartbeat=self._heartbeat()
        )
        if self._leaving:
            request.draining = True
        self.effects.append(ToLink(request.SerializeToString()))
        self._reports.again()

    def link_down(self, now_ns: int) -> None:
        """The stream to the balancer is gone, and with it who asked."""
        self._now_ns = now_ns
        self._linked = False
        self.pendings.forget_link()

    def link_frame(self, message: bytes, now_ns: int) -> None:
        """Takes a frame of the balancer: its view first, then openings, then parts in their order.

        Raises RingmillError, and does nothing, if it does not parse: the link is broken then.
        """
        self._now_ns = now_ns
        buffer = np.frombuffer(message, np.uint8)
        parts, rest = self._reader.read(buffer)
        try:
            response = JoinResponse.FromString(rest) if rest else None
        except DecodeError as error:
            raise RingmillError(Code.INTERNAL, f"a frame of the link does not parse: {error}") from None
        self._guarded(self._take_link, message, buffer, parts, response)

    def _take_link(
        self, message: bytes, buffer: Bytes, parts: Sequence[PartEntry], response: JoinResponse | None
    ) -> None:
        if response is not None:
            self._hear(response)
        for part in parts:
            self._serving.part(message, buffer, part, self._now_ns)

    def _hear(self, response: JoinResponse) -> None:
        if response.heartbeat_ms:
            self._heartbeat_ns = response.heartbeat_ms * _MILLISECOND_NS
        if response.HasField("view") and response.view.version != self.view.version:  # reading one takes a while
            self._obey(view_from_proto(response.view))
        for opening in response.opens:
            self._serving.open(opening, self._now_ns)
        if response.ledger:
            rows = self.ledger.rows(self.roles.primary.tolist())
            self.effects.append(ToLink(JoinRequest(ledger=rows).SerializeToString()))

    def peer_up(self, name: str, now_ns: int) -> None:
        """A stream to one of my copies is open."""
        self._now_ns = now_ns
        channel = self.channels.get(name)
        if channel is not None:
            channel.greet(self.view.cluster, self.process)

    def peer_down(self, name: str, now_ns: int) -> None:
        """It is gone; it will be dialled again."""
        self._now_ns = now_ns
        channel = self.channels.get(name)
        if channel is not None:
            channel.down()

    def peer_frame(self, name: str, message: bytes, now_ns: int) -> None:
        """Takes the acknowledgements of a copy."""
        self._now_ns = now_ns
        channel = self.channels.get(name)
        if channel is None:
            return
        try:
            response = ReplicateResponse.FromString(message)
        except DecodeError:
            self._redial(channel, "what it says does not parse")
            return
        self._guarded(self._take_peer, channel, response)

    def _take_peer(self, channel: Channel, response: ReplicateResponse) -> None:
        if response.HasField("welcome"):
            if not channel.acknowledged <= response.welcome.acknowledged < channel.next_number:
                self._redial(channel, "it has another channel than this one")
                return
            self._acknowledge(channel, response)
            self._auditor.acknowledged(channel, response.welcome.acknowledged)
            channel.resume(self._view_frame)
        elif channel.up:
            self._acknowledge(channel, response)
        self._seeding.pump(self._now_ns)
        self._mending.pump(self._now_ns)
        self._report()

    def _redial(self, channel: Channel, why: str) -> None:
        logger.warning("the channel to %s is broken off: %s", channel.name, why)
        channel.down()
        self.effects += (Hangup(channel.name), Dial(channel.name, channel.address, pauses=True))

    def _acknowledge(self, channel: Channel, response: ReplicateResponse) -> None:
        number, now_ns = response.acknowledged, self._now_ns
        if number >= channel.next_number:
            self._redial(channel, "it acknowledges what was never sent")
            return
        refusals = {refused.id: refused for refused in response.refused} if response.refused else None
        window = channel.window
        record = None
        while window and window[0].number <= number:
            record = window.popleft()
            refused = refusals.get(record.number) if refusals else None
            if refused is not None:
                self._refused(channel, record.pending, refused)
            elif record.pending is not None:
                self._serving.acknowledged(record.pending, now_ns)
        for verdict in response.verdicts:  # what was refused before an accepted offer is part of it
            self._seeding.verdict(channel, verdict.id, bool(verdict.missing))
            self._auditor.verdict(channel, verdict.id, list(verdict.missing))
            self._mending.verdict(channel, verdict.id, list(verdict.missing), now_ns)
        if record is None:
            return
        channel.acknowledged = number
        channel.owing_ns = now_ns
        if refusals:
            self._resolve(channel)
        if response.outcomes and record.number == number and response.outcomes != record.outcomes:
            self._auditor.compare(channel, now_ns)

    def _refused(self, channel: Channel, pending: Pending | None, refused: Refused) -> None:
        """A record was not applied in some partitions: what waits for it is held until a view tells."""
        if pending is None:
            self._seeding.refused(channel, refused.id)
            self._mending.refused(channel, refused.id)
            return
        partitions = [partition for partition in refused.partitions if partition < self.ledger.partitions]
        channel.held.append(Held(pending, refused.id, refused.version, partitions))

    def _resolve(self, channel: Channel) -> None:
        """Decides about what a copy refused, as far as this worker obeys as new a view as the copy did."""
        waiting, channel.held = channel.held, []
        for held in waiting:
            if held.version > self.view.version:
                channel.held.append(held)
            elif held.pending.opening is not None and not held.partitions:
                self._serving.open_again(held.pending, self._now_ns)
            else:
                held.partitions = [each for each in held.partitions if self._still_owed(channel, each)]
                if held.partitions:
                    channel.held.append(held)
                else:
                    self._serving.acknowledged(held.pending, self._now_ns)

    def _still_owed(self, channel: Channel, partition: int) -> bool:
        """Whether a copy that refused a record of the partition is still to have it: unless it is being mended, it must
        be made anew then."""
        if self.roles.role[partition] != PRIMARY or not self.channels.carries(channel, partition):
            return False
        if not self._mending.is_under_way(channel, partition):
            self._differs(partition, channel)
        return True

    def _differs(self, partition: int, channel: Channel) -> None:
        """A copy is not what it should be: a learner is offered the partition again, a replica is reported."""
        if self._seeding.learner_of(partition) == channel.copy:
            self._reports.not_caught_up(partition)
            self._seeding.missed(partition)
            return
        epoch = int(self.view.epochs[partition])
        if self._reports.diverged(partition, epoch, channel.copy, self.view.version):
            self._healing.add(partition)
            logger.warning("partition %d differs at %s: it is to be made anew there", partition, channel.name)

    def guest_up(self, guest: int, now_ns: int) -> None:
        """A primary has dialled."""
        self._now_ns = now_ns
        self._guests.up(guest)

    def guest_frame(self, guest: int, message: bytes, now_ns: int) -> None:
        """Takes records of a primary."""
        self._now_ns = now_ns
        self._guarded(self._guests.frame, guest, message)

    def guest_down(self, guest: int, now_ns: int) -> None:
        """Its stream is gone; the channel stays."""
        self._now_ns = now_ns
        self._guests.down(guest)

    def tick(self, now_ns: int) -> None:
        """Time passes: every 20 to 50 ms."""
        self._now_ns = now_ns
        self._guarded(self._tick)

    def _tick(self) -> None:
        now_ns = self._now_ns
        if now_ns - self._retried_ns >= _RETRY_NS:
            self._retried_ns = now_ns
            self._seeding.retry()
        self._seeding.pump(now_ns)
        self._mending.pump(now_ns)
        self._auditor.tick(now_ns)
        late_ns = now_ns - self.rules.silent_ns
        self._reports.silent([each.name for each in self.channels if each.window and each.owing_ns <= late_ns])
        self._report()
        if self._linked and now_ns - self._beat_ns >= self._heartbeat_ns:
            self._beat_ns = now_ns
            self.effects.append(ToLink(JoinRequest(heartbeat=self._heartbeat()).SerializeToString()))

    def leave(self, now_ns: int) -> None:
        """Asks that its partitions be moved elsewhere, and serves on; the balancer ends the link once that is done."""
        self._now_ns = now_ns
        self._leaving = True
        if self._linked:
            self.effects.append(ToLink(JoinRequest(draining=True).SerializeToString()))

    @property
    def held_alone(self) -> int:
        """Partitions with a history that no other worker is known to hold all of, and to stay."""
        alone = (self.roles.role == PRIMARY) & ~self.channels.copied(self.view) & (self.ledger.index > 0)
        return int(alone.sum())

    def turn_away(self, closed: bool, now_ns: int) -> None:
        """From here on no primary may count on this worker's copies; or it may again."""
        self._now_ns = now_ns
        self._guests.turn_away(closed)

    def _guarded(self, call: Callable[..., None], *arguments: object) -> None:
        """Takes an input. What that raises makes this worker unfit to go on: better no copy than a wrong one."""
        try:
            call(*arguments)
        except RingmillError as error:
            logger.exception("the worker cannot go on")
            self.effects.append(Fatal(error))
        except Exception as error:
            logger.exception("the worker cannot go on")
            self.effects.append(Fatal(RingmillError(Code.INTERNAL, f"the worker failed: {error!r}")))

    def _obey(self, view: View) -> None:
        """Obeys a view, if it is newer, from wherever it came. Raises RingmillError for one that is not for it."""
        before = self.view
        if view.version <= before.version:
            return
        self._check(view)
        try:
            self._take_over(before, view)
        except UnfitError:
            raise
        except RingmillError as error:
            raise UnfitError(f"view {view.version} is half obeyed: {error.message}") from error

    def _take_over(self, before: View, view: View) -> None:
        change = self.roles.obey(view)
        self.view = self._guests.view = self._sealing.view = view
        self._serving.obey(view)
        self._auditor.version = view.version
        self._view_frame = ReplicateRequest(views=[view_to_proto(view)]).SerializeToString()
        for lane in self.lanes:
            lane.epoch = view.version
        if change.deposed:
            marks = np.zeros(view.partitions, np.bool_)
            marks[change.deposed] = True
            self._serving.depose(marks)
        self._store.drop(change.lost)
        self._place(view, change.copied)
        self._reports.obey(before, view, self.roles)
        counted = self._seeding.obey(view, change.learning)
        for channel in self.channels.obey(view, change.copying, counted):
            self._auditor.forget(channel)
            self._mending.forget(channel)
            self._serving.release(channel, self._now_ns)
        self._sealing.obey(view, change.sealing, self.pendings)
        for channel in self.channels:
            channel.tell(self._view_frame)
        self._mending.obey(view, change.led, self._now_ns)
        for channel in self.channels:
            self._resolve(channel)
        self._seeding.pump(self._now_ns)
        self.effects.append(Obeyed(view))
        self._report()

    def _check(self, view: View) -> None:
        if view.partitions != self.ledger.partitions:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"the balancer divides keys into {view.partitions} partitions, this worker into "
                f"{self.ledger.partitions}: start both with the same --partitions",
            )
        if self.view.cluster and view.cluster != self.view.cluster:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"this worker is of cluster {self.view.cluster}, and was told a view of {view.cluster}",
            )

    def _place(self, view: View, copied: list[int]) -> None:
        """Tells the ledger whose partitions are whose. copied: seats of the primaries of what is copied here."""
        self._guests.retain([(member.name, member.incarnation) for member in view.members])
        sources = np.full(len(view.members), NO_SOURCE, np.int16)
        for seat in copied:
            process = process_at(view, seat)
            assert process is not None
            sources[seat] = self._guests.source_of(process)
        roles = self.roles
        roles.kernels.place(
            roles.arrays,
            self.ledger.arrays.pages,
            view.table,
            view.replicas,
            view.heirs,
            view.epochs,
            view.min_in_sync,
            sources,
        )

    def _caught_up(self, partition: int, seed: Seed) -> None:
        if partition in self._healing:
            self._healing.discard(partition)
            self._healed += 1
        channel = self.channels.get(seed.learner[0])
        if channel is not None:
            self._mended(partition, channel, seed.number)
        self._reports.caught_up(partition, int(self.view.epochs[partition]), seed.learner, seed.version)

    def _mended(self, partition: int, channel: Channel, number: int) -> None:
        """A copy took a partition by the record of this number: all that it refused of it before is part of it."""
        for held in channel.held:
            if partition in held.partitions and held.number < number:  # what came later it does not have
                held.partitions.remove(partition)
        if not all(held.partitions for held in channel.held):
            self._resolve(channel)

    def _report(self) -> None:
        if self._linked:
            chunk = self._reports.say(self._now_ns)
            if chunk:
                self.effects.append(ToLink(chunk))

    def _heartbeat(self) -> Heartbeat:
        beat = heartbeat(self.lanes, self.view.version)
        beat.audited, beat.differed = self._auditor.audited, self._auditor.differed
        beat.healed, beat.uncommitted = self._healed, len(self.pendings)
        return beat
