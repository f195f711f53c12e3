"""What clients are told of a pipeline."""

from ringmill.engine.plan import Field, Kind, Plan
from ringmill.v1 import processing_pb2 as pb


def describe(plan: Plan) -> pb.DescribePipelineResponse:
    """The pipeline's fields, outputs, emitters and state in the contract's words; names of a state are
    `step.field`. Of windows' states nothing is told.
    """
    state = [
        _state_field(step.name, field, part)
        for step in plan.steps
        if step.window is None
        for field in step.state_fields
        for part in _parts(field)
    ]
    return pb.DescribePipelineResponse(
        version=plan.version,
        digest=plan.digest,
        fields=[_field(field) for field in plan.fields],
        outputs=[_field(field) for field in plan.outputs],
        emitters=[
            pb.Emitter(name=step.name, outputs=[_field(output) for output in window.outputs])
            for _, step, window in plan.windows
        ],
        state=state,
        uses_time=plan.uses_time,
    )


def _field(field: Field) -> pb.Field:
    return pb.Field(
        name=field.name,
        kind=pb.FieldKind.Name(field.kind),
        nullable=field.nullable,
        has_default=field.default is not None,
    )


def _parts(field: Field) -> list[str]:
    """A single value has one part without a name, an array one for each element."""
    return [f"[{index}]" for index in range(field.length)] if field.length else [""]


def _state_field(step: str, field: Field, part: str) -> pb.Field:
    kind = pb.FieldKind.Name(field.kind)
    return pb.Field(name=f"{step}.{field.name}{part}", kind=kind, nullable=field.kind is Kind.DOUBLE)
