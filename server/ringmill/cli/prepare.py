"""Compiles ahead what the processes of a cluster run, or loads it: else each of them would, all at once."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringmill.engine.compiled import CompiledPipeline


def prepare_cluster(pipelines: Iterable["CompiledPipeline"]) -> None:
    """Compiles what balancer and workers run beside these pipelines, and what workers run for each of them."""
    _prepare_balancer()
    _prepare_worker()
    for pipeline in pipelines:
        _prepare_state(pipeline)


def _prepare_balancer() -> None:
    import numpy as np

    from ringmill.core.maglev import maglev
    from ringmill.core.previous import Previous
    from ringmill.core.split import Splitter
    from ringmill.core.view import View

    maglev({"": 1})
    View(0, "", (), np.full(1, -1, np.int32))
    Splitter(1, 1, 1)
    Previous(1)


def _prepare_worker() -> None:
    from ringmill.core.frame import PartsReader
    from ringmill.core.hashing import xxh64
    from ringmill.engine.labels import LabelStore
    from ringmill.engine.ledger import Ledger
    from ringmill.engine.outcomes import Outcomes
    from ringmill.server.node.roles import Roles

    xxh64(b"")
    PartsReader()
    Ledger(1)
    Outcomes(1, lambda *_: b"")
    Roles(("", 1), 1)
    LabelStore(partitions=1, labels_max=1, heap_bytes=1).prepare()


def _prepare_state(pipeline: "CompiledPipeline") -> None:
    """A state table's kernels are compiled for the pipeline's own rows."""
    from ringmill.engine.table import Table

    Table.allocate(pipeline.row_dtype, pipeline.template, partitions=1, keys_max=1, heap_bytes=1).prepare()
