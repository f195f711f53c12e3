"""The documentation and the code name the same metrics and spans, and follow the conventions."""

import re
from pathlib import Path

import pytest

from ringmill.telemetry import Stage, names

DOC = Path(__file__).parents[2] / "docs" / "telemetry.md"


def rows(heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head and rule."""
    section = DOC.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def listed(attributes: tuple[names.Attribute, ...]) -> str:
    return ", ".join(f"`{attribute}`" for attribute in attributes)


def test_the_documentation_lists_every_metric() -> None:
    assert rows("Metrics") == [
        [f"`{m.name}`", m.kind.value, f"`{m.unit}`", listed(m.attributes), m.description] for m in names.METRICS
    ]


def test_the_documentation_lists_every_metric_of_the_control_plane() -> None:
    assert rows("Metrics of the control plane") == [
        [f"`{m.name}`", m.kind.value, f"`{m.unit}`", listed(m.attributes), m.description] for m in names.XDS_METRICS
    ]


def test_the_documentation_lists_every_span() -> None:
    assert rows("Spans") == [[f"`{s.name}`", listed(s.attributes), s.description] for s in names.SPANS]


def test_the_documentation_lists_every_stage() -> None:
    told = next(line for line in DOC.read_text().splitlines() if line.startswith("- `ringmill.stage`"))
    assert set(re.findall(r"`(\w+)`", told)) == {stage.name.lower() for stage in Stage}


@pytest.mark.parametrize("name", [m.name for m in names.METRICS + names.XDS_METRICS] + [s.name for s in names.SPANS])
def test_names_follow_the_conventions(name: str) -> None:
    assert re.fullmatch(r"ringmill(\.[a-z][a-z_]*)+", name)
