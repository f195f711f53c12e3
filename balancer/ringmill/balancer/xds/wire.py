"""Requests and responses as bytes.

A response is put together from resources that were encoded before: the encodings of two Protobuf messages, one after
the other, are the encoding of both merged, so a head and each resource in a message of its own give the whole.
"""

from typing import TypeVar

from envoy_data_plane.envoy.service.discovery.v3 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from envoy_data_plane.envoy.service.discovery.v3 import Resource as DeltaResource
from envoy_data_plane.google.protobuf import Any

from ringmill.balancer.xds.requests import Answer, Ask, DeltaAsk
from ringmill.balancer.xds.resources import Resource, digest
from ringmill.core.errors import Code, RingmillError

_Request = TypeVar("_Request", DiscoveryRequest, DeltaDiscoveryRequest)


def resource(type_url: str, name: str, content: bytes, listed: bool = True) -> Resource:
    """A resource with this content, an encoded message of the type. listed: whether who wants everything gets it."""
    packed, version = Any(type_url=type_url, value=content), digest(content)
    single = DeltaResource(name=name, version=version, resource=packed)
    return Resource(
        name,
        version,
        whole=bytes(DiscoveryResponse(resources=[packed])),
        single=bytes(DeltaDiscoveryResponse(resources=[single])),
        listed=listed,
    )


def read_ask(message: bytes) -> tuple[Ask, str]:
    """A state-of-the-world request, and who sends it; empty: it said so before. Raises INVALID_ARGUMENT."""
    request = _parsed(DiscoveryRequest, message)
    error = request.error_detail
    ask = Ask(
        request.type_url,
        tuple(request.resource_names),
        request.response_nonce,
        request.version_info,
        (error.message or f"code {error.code}") if error is not None else "",
    )
    return ask, request.node.id if request.node is not None else ""


def read_delta_ask(message: bytes) -> tuple[DeltaAsk, str]:
    """A delta request, and who sends it; empty: it said so before. Raises INVALID_ARGUMENT."""
    request = _parsed(DeltaDiscoveryRequest, message)
    error = request.error_detail
    ask = DeltaAsk(
        request.type_url,
        tuple(request.resource_names_subscribe),
        tuple(request.resource_names_unsubscribe),
        request.initial_resource_versions,
        request.response_nonce,
        (error.message or f"code {error.code}") if error is not None else "",
    )
    return ask, request.node.id if request.node is not None else ""


def encode(answer: Answer) -> bytes:
    """A state-of-the-world response."""
    head = DiscoveryResponse(version_info=answer.version, type_url=answer.type_url, nonce=answer.nonce)
    return b"".join([bytes(head), *(each.whole for each in answer.resources)])


def encode_delta(answer: Answer) -> bytes:
    """A delta response."""
    head = DeltaDiscoveryResponse(
        system_version_info=answer.version,
        type_url=answer.type_url,
        nonce=answer.nonce,
        removed_resources=list(answer.removed),
    )
    return b"".join([bytes(head), *(each.single for each in answer.resources)])


def _parsed(kind: type[_Request], message: bytes) -> _Request:
    try:
        return kind.parse(message)
    except Exception as error:  # the library has no error of its own for this
        raise RingmillError(Code.INVALID_ARGUMENT, f"this is no {kind.__name__}: {type(error).__name__}") from None
