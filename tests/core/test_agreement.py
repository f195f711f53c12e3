"""The checks of a stream's heads, and the options that metadata may set."""

import pytest

from ringmill.core.agreement import Agreement, Served, StreamLimits, first_of, options_of, version_matches
from ringmill.core.errors import Code, RingmillError
from ringmill.v1.processing_pb2 import (
    AckLevel,
    DescribePipelineResponse,
    ProcessOptions,
    ProcessRequest,
    ProcessResponse,
)

CATALOGUE = {
    name: Served(name, index, DescribePipelineResponse(version="2.1.0"), events_max=10)
    for index, name in enumerate(("clicks", "ticks"))
}


def refusal(agreement: Agreement, head: ProcessRequest, count: int = 1) -> tuple[Code, str]:
    with pytest.raises(RingmillError) as caught:
        agreement.accept(head, count, CATALOGUE)
    return caught.value.code, caught.value.message


def agreement(*metadata: tuple[str, str]) -> Agreement:
    return Agreement(StreamLimits(), metadata)


def test_the_first_message_fixes_pipeline_and_producer() -> None:
    stream = agreement()
    assert stream.accept(ProcessRequest(pipeline="ticks", producer="p"), 1, CATALOGUE).index == 1
    for later in (ProcessRequest(), ProcessRequest(pipeline="ticks"), ProcessRequest(producer="p")):
        assert stream.accept(later, 1, CATALOGUE).name == "ticks"
    assert refusal(stream, ProcessRequest(pipeline="clicks"))[0] == Code.INVALID_ARGUMENT
    assert refusal(stream, ProcessRequest(producer="q"))[0] == Code.INVALID_ARGUMENT


def test_what_must_end_a_stream() -> None:
    assert refusal(agreement(), ProcessRequest())[0] == Code.INVALID_ARGUMENT
    code, message = refusal(agreement(), ProcessRequest(pipeline="nothing"))
    assert (code, "clicks, ticks" in message) == (Code.NOT_FOUND, True)
    assert refusal(agreement(), ProcessRequest(pipeline="ticks", ack=7))[0] == Code.INVALID_ARGUMENT
    code, message = refusal(agreement(), ProcessRequest(pipeline="ticks"), count=11)
    assert (code, "10" in message) == (Code.RESOURCE_EXHAUSTED, True)
    asked = ProcessRequest(pipeline="ticks", options=ProcessOptions(version="2.2"))
    assert refusal(agreement(), asked)[0] == Code.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("asked", "fits"), [("2", True), ("2.1", True), ("2.1.0", True), ("2.1.0.0", False), ("1", False), ("2.10", False)]
)
def test_versions(asked: str, fits: bool) -> None:
    assert version_matches(asked, "2.1.0") is fits


def test_every_option_has_a_twin_in_metadata() -> None:
    twins = {"routing_key": "k", "session": "7", "version": "2", "ack": "primary", "emissions": "true"}
    assert set(twins) == set(ProcessOptions.DESCRIPTOR.fields_by_name)
    metadata = [(f"ringmill-{name.replace('_', '-')}", value) for name, value in twins.items()]
    assert options_of([*metadata, ("ringmill-unknown", "x"), ("user-agent", "y")]) == ProcessOptions(
        routing_key="k", session=7, version="2", ack=AckLevel.ACK_LEVEL_PRIMARY, emissions=True
    )


@pytest.mark.parametrize(("name", "value"), [("ack", "most"), ("session", "-1"), ("session", "x"), ("emissions", "1")])
def test_a_twin_that_makes_no_sense_ends_the_stream(name: str, value: str) -> None:
    code, message = refusal(agreement((f"ringmill-{name}", value)), ProcessRequest(pipeline="ticks"))
    assert code == Code.INVALID_ARGUMENT
    assert f"ringmill-{name}" in message


def test_the_message_wins_over_its_twin() -> None:
    asked = ProcessRequest(pipeline="ticks", options=ProcessOptions(version="2.1"))
    assert agreement(("ringmill-version", "3")).accept(asked, 1, CATALOGUE).name == "ticks"
    code, _ = refusal(agreement(("ringmill-version", "3")), ProcessRequest(pipeline="ticks"))
    assert code == Code.FAILED_PRECONDITION


def test_the_stream_is_described_once() -> None:
    stream = agreement()
    assert stream.first_response_fields() == b""
    stream.accept(ProcessRequest(pipeline="ticks"), 1, CATALOGUE)
    info = ProcessResponse.FromString(stream.first_response_fields()).stream
    assert (info.version, info.max_events, info.deduplicates) == ("2.1.0", 10, False)
    assert stream.first_response_fields() == b""


def test_a_producers_stream_is_told_its_session() -> None:
    stream = agreement(("ringmill-session", "7"))
    assert not stream.told
    stream.accept(
        ProcessRequest(pipeline="ticks", producer="p", options=ProcessOptions(ack="ACK_LEVEL_ALL")), 1, CATALOGUE
    )
    assert (stream.producer, stream.session, stream.ack) == ("p", 7, AckLevel.ACK_LEVEL_ALL)
    info = ProcessResponse.FromString(stream.first_response_fields(7, 40)).stream
    assert (info.session, info.last_sequence, info.deduplicates, stream.told) == (7, 40, True, True)


def test_a_session_is_a_producers() -> None:
    asked = ProcessRequest(pipeline="ticks", options=ProcessOptions(session=7))
    assert refusal(agreement(), asked)[0] == Code.INVALID_ARGUMENT


def test_metadata_may_be_bytes() -> None:
    assert first_of([("a", "1"), ("b", b"2"), ("b", "3")], "b") == "2"
    assert first_of([], "b") == ""


@pytest.mark.parametrize("name", ["z" * 100_000, "ticks"])
def test_a_status_quotes_little_of_what_the_client_wrote(name: str) -> None:
    head = ProcessRequest(pipeline=name, options=ProcessOptions(version="9" * 100_000))
    assert len(refusal(agreement(), head)[1]) < 1000
