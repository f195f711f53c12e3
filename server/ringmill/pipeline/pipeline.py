"""A pipeline: a named, versioned list of steps over the fields of an event."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ringmill.core.hashing import PARTITIONS
from ringmill.engine.plan import Plan
from ringmill.pipeline.build import NONE, build_plan
from ringmill.pipeline.fields import Event
from ringmill.pipeline.operators import Step
from ringmill.pipeline.place import caller

if TYPE_CHECKING:
    from ringmill.engine.compiled import CompiledPipeline
    from ringmill.pipeline.result import RunResult
    from ringmill.v1.processing_pb2 import DescribePipelineResponse


class Pipeline:
    """Steps that run in order for each event, on the state of the event's key. A step may read earlier outputs.

    An output is named after its step, or `step.output` where an operator returns several. Making a pipeline checks all
    but types, which need compiling: `compile()`. Raises RingmillError that names the line of what is wrong.
    """

    def __init__(
        self,
        name: str,
        *,
        version: str,
        event: type[Event],
        steps: Mapping[str, Step],
        out_of_order: timedelta = NONE,
        ahead: timedelta | None = None,
    ) -> None:
        """Checks it.

        out_of_order: how much older than the key's newest an event may be and still be on time. Windows close by the
        key's newest time less this, its clock; what is older than the clock less the windows' lateness is rejected
        LATE. ahead: an event further ahead of its key's newest is rejected TIME_INVALID, unless the last one that was
        rejected so lies as near to it; so it must be longer than pauses between a key's events. None: all are taken.
        """
        self.place = caller()
        self.event = event
        self.plan: Plan = build_plan(name, version, event, steps, self.place, out_of_order, ahead)
        self.steps: dict[str, Step] = dict(steps)
        self._compiled: CompiledPipeline | None = None

    @property
    def name(self) -> str:
        """What clients ask for."""
        return self.plan.name

    @property
    def version(self) -> str:
        """Three numbers; within the first, fields and outputs only grow at the end."""
        return self.plan.version

    @property
    def digest(self) -> str:
        """SHA-256 of the operators' sources, all that they refer to, parameters and shapes."""
        return self.plan.digest

    def compile(self, partitions: int = PARTITIONS) -> "CompiledPipeline":
        """The pipeline as machine code, from the cache where it has been compiled before. Seconds, when it has not.

        partitions: into how many its keys are divided, a prime; all workers of a cluster must agree.
        """
        if self._compiled is None or self._compiled.partitions != partitions:
            from ringmill.engine.compiled import compile_pipeline

            self._compiled = compile_pipeline(self.plan, partitions)
        return self._compiled

    def describe(self) -> "DescribePipelineResponse":
        """What clients are told: fields, outputs, emitters, state, digest."""
        from ringmill.pipeline.describe import describe

        return describe(self.plan)

    def run(self, *, keys: Any, times: Any = None, **fields: Any) -> "RunResult":
        """Runs events through the same kernels in this process, from empty state: for tests and notebooks.

        keys, times (microseconds since 1970 UTC) and each field, by name, are sequences or arrays of one length. A
        field with a default may be left out. Returns the outputs by name, in the order of the events.
        """
        from ringmill.pipeline.result import run

        return run(self, keys, times, fields)
