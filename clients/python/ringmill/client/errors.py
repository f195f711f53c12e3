"""What goes wrong, as exceptions that carry the gRPC status code they stand for."""

from ringmill.core.errors import Code, RingmillError

_NO_ANSWER = ("failed to connect", "errors resolving", "DNS resolution failed", "connections to all backends failing")
"""How gRPC begins what it says of a server that it cannot reach; other words are the server's own."""


class ClientError(RingmillError):
    """A call that failed as a whole. `code` is the gRPC status code and `message` is for people."""


class ProcessError(ClientError):
    """A stream that broke while batches were unanswered.

    acknowledged: events of this call whose outcomes came; they are final.
    unknown: events that were sent and not answered: each may have been applied or not.
    """

    def __init__(self, code: Code, message: str, acknowledged: int, unknown: int) -> None:
        if unknown:
            message += f" ({acknowledged} events were answered; of {unknown} sent after them the outcome is unknown)"
        super().__init__(code, message)
        self.acknowledged = acknowledged
        self.unknown = unknown


class RejectedError(ClientError):
    """Events that were not applied, raised only by `Result.raise_for_rejections`."""


def fenced_error(producer: str, details: str) -> ClientError:
    """The exception for a session that a newer client of the same producer has ended."""
    return ClientError(
        Code.ABORTED,
        f"another client has taken over as producer {producer!r}, and this one is done: "
        f"clients that run at the same time need names of their own ({details})",
    )


def forgotten_error(producer: str, details: str) -> ClientError:
    """The exception for a session that the server no longer knows while batches of it are unanswered."""
    return ClientError(
        Code.FAILED_PRECONDITION,
        f"the server no longer knows the session of producer {producer!r}, so what was unanswered cannot be sent "
        f"again safely; the next call opens a new session ({details})",
    )


def unconfirmed_error(events: int) -> ClientError:
    """The exception for answers that only a primary gave, and that did not last."""
    return ClientError(
        Code.DATA_LOSS,
        f"{events} events were answered by a primary alone, and with its loss they were, or may have been, undone",
    )


def status_error(code: Code, details: str, target: str) -> ClientError:
    """The exception for a status that ended a call to `target`."""
    if code != Code.UNAVAILABLE:
        return ClientError(code, details or code.name)
    if details.startswith(_NO_ANSWER):
        return ClientError(code, f"nothing answers at {target}; is `ringmill up` running? ({details})")
    return ClientError(code, f"{target}: {details or code.name}")
