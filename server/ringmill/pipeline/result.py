"""Runs a pipeline over arrays in this process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ringmill.pipeline.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class RunResult:
    """What events led to, in their order."""

    outputs: dict[str, npt.NDArray[Any]]
    reasons: npt.NDArray[np.uint32]
    emissions: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.outputs[name]

    @property
    def rejected(self) -> int:
        """How many events were not applied."""
        return int(np.count_nonzero(self.reasons))


def run(pipeline: "Pipeline", keys: Any, times: Any, fields: Mapping[str, Any]) -> RunResult:
    """Runs events through a pipeline with empty state."""
    raise NotImplementedError
