"""Clients of a Ringmill server: `Client` blocks, `AsyncClient` awaits; both take and give NumPy arrays and frames."""

from ringmill.client.aio import AsyncClient
from ringmill.client.blocking import Client, EventStream
from ringmill.client.columns import EventColumns
from ringmill.client.errors import ClientError, ProcessError, RejectedError
from ringmill.client.feeds import OutcomeBatch
from ringmill.client.outcome import Outcome, Rejection
from ringmill.client.result import Result
from ringmill.client.schema import Schema
from ringmill.core.errors import Code, Reason
from ringmill.transport.api import ClientTls

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "ClientTls",
    "Code",
    "EventColumns",
    "EventStream",
    "Outcome",
    "OutcomeBatch",
    "ProcessError",
    "Reason",
    "RejectedError",
    "Rejection",
    "Result",
    "Schema",
]
