"""`ringmill check`: compiles the pipelines of a file without starting anything."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringmill.cli import console, process
from ringmill.cli.prepare import prepare_cluster

if TYPE_CHECKING:
    from rich.table import Table

    from ringmill.engine.compiled import CompiledPipeline
    from ringmill.engine.plan import Field, Plan
    from ringmill.pipeline import Pipeline


def check(
    app: Annotated[Path, typer.Argument(help="Python file that defines pipelines.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each pipeline.")] = False,
) -> int:
    """Compile the pipelines of a file, and say what they take, give and keep. Starts nothing.

    It compiles what `ringmill up` needs beside them, too, so that this then loads everything from the cache. A mistake
    is one line with your own file and line, and status 1.

    [dim]$ ringmill check examples/flights.py[/dim]
    """
    process.die_with_parent()
    from ringmill.pipeline import load_pipelines

    pipelines = load_pipelines(app)
    show = _report if as_json else _show
    compiled = [show(pipeline) for pipeline in pipelines.values()]
    if as_json:
        prepare_cluster(compiled)
        return 0
    with console.out().status("compiling what serves them"):
        prepare_cluster(compiled)
    count = f"{len(pipelines)} {'pipeline is' if len(pipelines) == 1 else 'pipelines are'} in order"
    console.out().print(f"{app}: {count}")
    return 0


def _report(pipeline: "Pipeline") -> "CompiledPipeline":
    plan, compiled = pipeline.plan, pipeline.compile()
    console.report(
        "pipeline",
        name=plan.name,
        version=plan.version,
        digest=plan.digest,
        fields=[_field(field) for field in plan.fields],
        outputs=[_field(field) for field in plan.outputs],
        emitters=_emitters(plan),
        state_bytes=_state_bytes(pipeline),
        uses_time=plan.uses_time,
        cold=compiled.cold,
        compile_s=round(compiled.compile_s, 3),
    )
    return compiled


def _show(pipeline: "Pipeline") -> "CompiledPipeline":
    screen = console.out()
    with screen.status(f"compiling {pipeline.name}"):
        compiled = pipeline.compile()
    screen.print(_table(pipeline, compiled))
    return compiled


def _state_bytes(pipeline: "Pipeline") -> int:
    from ringmill.engine.panes import held_dtype

    return sum(
        step.state.itemsize if step.window is None else held_dtype(step, step.window).itemsize
        for step in pipeline.plan.steps
    )


def _emitters(plan: "Plan") -> dict[str, list[str]]:
    return {step.name: [_field(output) for output in window.outputs] for _, step, window in plan.windows}


def _table(pipeline: "Pipeline", compiled: "CompiledPipeline") -> "Table":
    from rich.table import Table

    plan = pipeline.plan
    table = Table(title=f"{plan.name} {plan.version}", title_justify="left", show_header=False, box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("fields", "\n".join(_field(field) for field in plan.fields) or "none but key and time")
    table.add_row("outputs", "\n".join(_field(field) for field in plan.outputs) or "none")
    if plan.windows:
        emitted = (f"{name}: {', '.join(outputs)}" for name, outputs in _emitters(plan).items())
        table.add_row("windows", "\n".join(emitted))
    table.add_row(
        "state", f"{_state_bytes(pipeline)} bytes a key, {compiled.row_dtype.itemsize} with the key's own header"
    )
    table.add_row("time", "used: events without a time are rejected" if plan.uses_time else "not used")
    table.add_row("digest", plan.digest)
    how = "compiled" if compiled.cold else "loaded from the cache"
    table.add_row("machine code", f"{how} in {compiled.compile_s:.2f} s")
    return table


def _field(field: "Field") -> str:
    kind = "float" if field.kind.name == "DOUBLE" else field.kind.name.lower()
    kind = {"integer": "int", "label": "Label"}.get(kind, kind)
    text = f"{field.name}: {kind}{' | None' if field.nullable else ''}"
    return text if field.default is None else f"{text} = {field.default!r}"
