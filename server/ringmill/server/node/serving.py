"""What a primary does with parts: decides, applies, copies them to all who must have them, and answers then."""

import logging
from collections.abc import Sequence

import numpy as np

from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import EARLY, EMISSIONS, PartEntry, again_result, failed_result, record_prefix
from ringmill.core.memory import Bytes
from ringmill.core.split import Splitter
from ringmill.core.view import View
from ringmill.engine.ledger import Cut, Ledger, Settled
from ringmill.engine.ledger_arrays import ADMIT, ADMITTED, AGAIN, FENCED, FULL, Judged
from ringmill.engine.outcomes import Outcomes
from ringmill.internal.v1.link_pb2 import Entry, Open, ReplicateRequest
from ringmill.server.lane import MICROSECOND_NS, Lane, Times
from ringmill.server.node.answers import (
    committed_parts,
    committed_result,
    opened,
    provisional_result,
)
from ringmill.server.node.channel import Channel
from ringmill.server.node.channels import Channels
from ringmill.server.node.effects import Effect, ToLink, UnfitError
from ringmill.server.node.pending import Marks, Pending, Pendings
from ringmill.server.node.store import open_session
from ringmill.telemetry import PROCESS
from ringmill.v1.processing_pb2 import ProcessRequest

_COPIED_BYTES_MAX = 4096
"""A request up to this size is copied behind its head: two chunks would cost more."""
_DEFECT = RingmillError(Code.INTERNAL, "the worker failed on this batch; its log has the reason")

logger = logging.getLogger("ringmill.worker")


class Serving:
    """The partitions that this worker is primary of. Used by one thread."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        ledger: Ledger,
        outcomes: Outcomes,
        splitter: Splitter,
        channels: Channels,
        pendings: Pendings,
        effects: list[Effect],
    ) -> None:
        self.version = 0
        """Of the view that is obeyed."""
        self._lanes = lanes
        self._ledger = ledger
        self._outcomes = outcomes
        self._splitter = splitter
        self._channels = channels
        self._pendings = pendings
        self._effects = effects
        self._touched = ledger.arrays.touched["partition"]
        self._copies = np.zeros(ledger.partitions, np.int64)
        self._copies_min = self._copies_max = 0
        self._in_sync_min = 1

    def obey(self, view: View) -> None:
        """Takes how many copies there are from a newer view, and must be."""
        self.version = view.version
        self._in_sync_min = view.min_in_sync
        copies = self._copies = view.copies()
        led = copies[copies > 0]
        self._copies_min, self._copies_max = (int(led.min()), int(led.max())) if led.size else (0, 0)

    def part(self, message: bytes, buffer: Bytes, part: PartEntry, now_ns: int) -> None:
        """Takes a part of a frame, which the buffer holds too. Its failure is its own.

        Raises UnfitError where applying failed half-way.
        """
        try:
            if part.pipeline >= len(self._lanes):
                raise RingmillError(
                    Code.INTERNAL, f"part for pipeline {part.pipeline}, but only {len(self._lanes)} are served"
                )
            lane = self._lanes[part.pipeline]
            begun_ns = lane.clock()
            head, count = lane.decode(buffer, part.start, part.stop)
            judged = self._ledger.examine(lane.engine.columns, count, buffer, part)
            if judged.status != ADMITTED:
                if judged.status == AGAIN:
                    self._effects.append(ToLink(again_result(part.id, self.version)))
                    return
                self._check(judged)
                if judged.known:
                    self._outcomes.recall(self._ledger, part)
        except RingmillError as error:
            self._effects.append(ToLink(failed_result(part.id, error)))
            return
        except Exception:  # a defect of ours: nothing was changed, so it ends this batch's stream alone
            logger.exception("a part failed")
            self._effects.append(ToLink(failed_result(part.id, _DEFECT)))
            return
        try:
            self._admitted(lane, message, buffer, part, judged, head, count, (now_ns, begun_ns))
        except Exception as error:
            raise UnfitError(f"a part could not be applied: {error!r}") from error

    def _check(self, judged: Judged) -> None:
        status = judged.status
        if status == ADMIT:
            return
        if status == FENCED:
            raise RingmillError(Code.ABORTED, "a newer stream of this producer is open")
        if status == FULL:
            raise RingmillError(
                Code.RESOURCE_EXHAUSTED,
                f"this worker knows {self._ledger.producers_max} producers, and has no room for another",
            )
        raise RingmillError(Code.INTERNAL, "the part contradicts itself")

    def _admitted(
        self,
        lane: Lane,
        message: bytes,
        buffer: Bytes,
        part: PartEntry,
        judged: Judged,
        head: ProcessRequest,
        count: int,
        times: tuple[int, int],
    ) -> None:
        """Applies what may be admitted, and puts it on the channels."""
        if head.traceparent and lane.telemetry.enabled:
            with lane.telemetry.span(PROCESS, lane.served.name, head.traceparent) as span:
                response, rejected, settled = self._apply(lane, buffer, part, judged, head.sequence, count, times)
                span.end(count, rejected)
        else:
            response, _, settled = self._apply(lane, buffer, part, judged, head.sequence, count, times)
        touched = judged.touched
        partitions = self._touched[:touched].copy() if touched != 1 else int(self._touched[0])
        pending = Pending(part.id, response, 0, lane.clock(), partitions)
        if judged.channels:
            self._forward(message, buffer, part, judged, settled, pending)
        if not pending.waits:
            self._answer(pending, pending.admitted_ns)
            return
        self._pendings.add(pending)
        if part.flags & EARLY:
            pending.answered = True
            self._effects.append(ToLink(provisional_result(part.id, response)))

    def _apply(
        self,
        lane: Lane,
        buffer: Bytes,
        part: PartEntry,
        judged: Judged,
        sequence: int,
        count: int,
        times: tuple[int, int],
    ) -> tuple[bytes, int, Settled]:
        ledger, columns, (arrived_ns, begun_ns) = self._ledger, lane.engine.columns, times
        if judged.status == ADMIT:
            ledger.admit(columns, count, part)
        decoded_ns = lane.clock()
        rejected = lane.engine.apply(buffer, count)
        applied_ns = lane.clock()
        settled = ledger.settle(columns, count)
        emissions = bool(part.flags & EMISSIONS)
        response = lane.respond(sequence, count, rejected, begun_ns - arrived_ns, applied_ns - begun_ns, emissions)
        if judged.fresh:
            self._outcomes.keep(part, settled.record, response)
        if judged.known:
            response = self._outcomes.splice(ledger, columns, count, response)
        lane.account(count, rejected, Times(arrived_ns, begun_ns, decoded_ns, applied_ns))
        return response, rejected, settled

    def _forward(
        self, message: bytes, buffer: Bytes, part: PartEntry, judged: Judged, settled: Settled, pending: Pending
    ) -> None:
        """Puts the part on every channel of a partition that it touches: its own bytes where all of them go there."""
        previous = message[part.previous_start : part.previous_stop]
        size = part.stop - part.start
        body: bytes | memoryview = message[part.start : part.stop] if size <= _COPIED_BYTES_MAX else b""
        common, now_ns = judged.common, pending.admitted_ns
        if common != judged.channels:
            self._forward_apart(message[part.start : part.stop], part, judged, pending)
            return
        channels = self._channels.of(common)
        pending.waits = len(channels)
        for channel in channels:
            head = record_prefix(part, channel.next_number, previous, self.version, judged.check, size)
            if size <= _COPIED_BYTES_MAX:
                channel.put(head + body, b"", pending, settled.outcomes, now_ns)
            else:
                body = body or memoryview(message)[part.start : part.stop]
                channel.put(head, body, pending, settled.outcomes, now_ns)

    def _forward_apart(self, request: bytes, part: PartEntry, judged: Judged, pending: Pending) -> None:
        """Puts on each channel the events of its own partitions."""
        channels = self._channels.of(judged.channels)
        scanned = self._splitter.rescan(request)
        for channel in channels:
            select, table = self._channels.selection(channel)
            cut: Cut = self._ledger.cut(select)
            share = self._splitter.split(request, scanned, table, 1).parts[0][1]
            head = record_prefix(part, channel.next_number, cut.previous, self.version, cut.check, len(share))
            channel.put(head, share, pending, cut.outcomes, pending.admitted_ns)
        pending.waits = len(channels)

    def open(self, opening: Open, now_ns: int) -> None:
        """Opens a producer's stream in all partitions of mine, here and at their copies; answers when they have it."""
        result = open_session(self._ledger, self._outcomes, opening)
        answer = b""
        if opening.id:
            answer = opened(opening.id, result.code, result.session, result.last_sequence)
        forwarded = opening
        if result.code:
            if answer:
                self._effects.append(ToLink(answer))
            forwarded = Open(floor=opening.floor, forget=opening.forget)
            if not forwarded.floor and not forwarded.forget:
                return
        pending = Pending(0 if result.code else opening.id, answer, 0, now_ns, -1)
        pending.opening = forwarded  # a refused one is not opened after all if a copy asks for it again
        for channel in self._channels.used():
            entry = Entry(id=channel.next_number, version=self.version, open=forwarded)
            channel.put(ReplicateRequest(entries=[entry]).SerializeToString(), b"", pending, 0, now_ns)
            pending.waits += 1
        if pending.waits:
            self._pendings.add(pending)
        else:
            self._answer(pending, now_ns)

    def acknowledged(self, pending: Pending, now_ns: int) -> None:
        """One copy more has it, or needs to have it no more."""
        pending.waits -= 1
        if pending.waits <= 0 and self._pendings.remove(pending):
            self._answer(pending, now_ns)

    def depose(self, marks: Marks) -> None:
        """What touches these partitions can no longer be committed here: it is to be routed again."""
        for pending in self._pendings:
            if not pending.touches(marks):
                continue
            if pending.opening is not None:  # the balancer sends openings again by itself
                self._pendings.remove(pending)
            elif pending.number:  # here it is applied: what is to be sealed waits until copies have it, too
                self._effects.append(ToLink(again_result(pending.number, self.version)))
                pending.number = 0

    def open_again(self, pending: Pending, now_ns: int) -> None:
        """A copy heard an opening under a newer view than it was made under: it is made anew, under this one."""
        if pending.opening is not None and self._pendings.remove(pending):
            again = Open()
            again.CopyFrom(pending.opening)
            again.id = pending.number
            self.open(again, now_ns)

    def release(self, channel: Channel, now_ns: int) -> None:
        """Waits for nothing on a channel that is no more."""
        waiting = [record.pending for record in channel.window] + [held.pending for held in channel.held]
        channel.window.clear()
        channel.held.clear()
        for pending in waiting:
            if pending is not None:
                self.acknowledged(pending, now_ns)

    def _answer(self, pending: Pending, now_ns: int) -> None:
        number = pending.number
        if not number:
            return
        if pending.opening is not None:
            self._effects.append(ToLink(pending.response))
            return
        copies = self._copies_of(pending)
        if copies < self._in_sync_min:  # here it is applied: it is answered when there are copies enough
            chunk = again_result(number, self.version)
        elif pending.answered:
            chunk = committed_parts(number)
        else:
            replicate_us = (now_ns - pending.admitted_ns) // MICROSECOND_NS
            chunk = committed_result(number, pending.response, copies, replicate_us)
        self._effects.append(ToLink(chunk))

    def _copies_of(self, pending: Pending) -> int:
        """In-sync copies of the partition touched that has the fewest. All have it that are in the view by now: what
        is not waited for is out of it, and a learner counts only once it has caught up."""
        if self._copies_min == self._copies_max:
            return self._copies_min
        return int(np.min(self._copies[pending.partitions]))
