"""What a worker says to its balancer, encoded or as messages."""

from collections.abc import Sequence

from ringmill.core.codec.layout import MessageDescriptor
from ringmill.core.frame import result_prefix, varint
from ringmill.core.view import View
from ringmill.core.wire import DELIMITED, VARINT
from ringmill.internal.v1.link_pb2 import Heartbeat, JoinRequest, Opened, Registration
from ringmill.server.lane import Lane
from ringmill.server.node.identity import Identity
from ringmill.v1.processing_pb2 import AckLevel, ProcessResponse, Receipt

_UINT32_MAX = 2**32 - 1


def _tag(message: MessageDescriptor, field: str, wire_type: int) -> bytes:
    return varint(message.fields_by_name[field].number << 3 | wire_type)


_RECEIPT = _tag(ProcessResponse.DESCRIPTOR, "receipt", DELIMITED)
_ACK_ALL = _tag(Receipt.DESCRIPTOR, "ack", VARINT) + varint(AckLevel.ACK_LEVEL_ALL)
_EARLY = ProcessResponse(receipt=Receipt(ack=AckLevel.ACK_LEVEL_PRIMARY)).SerializeToString()
_COPIES = _tag(Receipt.DESCRIPTOR, "copies", VARINT)
_REPLICATE_US = _tag(Receipt.DESCRIPTOR, "replicate_us", VARINT)


def committed_receipt(copies: int, replicate_us: int) -> bytes:
    """An encoded ProcessResponse that, appended to another, says that all copies hold the batch."""
    inner = _ACK_ALL + _COPIES + varint(copies)
    if replicate_us > 0:
        inner += _REPLICATE_US + varint(min(replicate_us, _UINT32_MAX))
    return _RECEIPT + varint(len(inner)) + inner


def committed_result(part: int, response: bytes, copies: int, replicate_us: int) -> bytes:
    """The answer to a part that all copies hold."""
    receipt = committed_receipt(copies, replicate_us)
    return result_prefix(part, len(response) + len(receipt)) + response + receipt


def provisional_result(part: int, response: bytes) -> bytes:
    """The answer to a part that copies do not hold yet."""
    return result_prefix(part, len(response) + len(_EARLY), provisional=True) + response + _EARLY


def committed_parts(part: int) -> bytes:
    """Tells that copies hold a part that was answered before."""
    return JoinRequest(committed=[part]).SerializeToString()


def opened(number: int, code: int, session: int, last_sequence: int) -> bytes:
    """The answer to an opening."""
    answer = Opened(id=number, code=code, session=session, last_sequence=last_sequence)
    return JoinRequest(opened=[answer]).SerializeToString()


def registration(identity: Identity, lanes: Sequence[Lane], view: View) -> Registration:
    """Who a worker is, what it serves, and the view that it obeys."""
    return Registration(
        name=identity.name,
        incarnation=identity.incarnation,
        weight=identity.weight,
        cluster=view.cluster,
        pipelines=[lane.served.description for lane in lanes],
        pipeline_names=[lane.served.name for lane in lanes],
        address=identity.address,
        events_max=[lane.served.events_max for lane in lanes],
        view_version=view.version,
        peer_address=identity.peer_address,
        host=identity.host,
        zone=identity.zone,
        platform=identity.platform,
    )


def heartbeat(lanes: Sequence[Lane], version: int) -> Heartbeat:
    """What a worker holds, and the view that it obeys."""
    return Heartbeat(
        keys=sum(lane.engine.table.count for lane in lanes),
        state_bytes=sum(lane.engine.table.state_bytes for lane in lanes),
        events=sum(lane.counts.events for lane in lanes),
        view_version=version,
    )
