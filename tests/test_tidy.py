"""What a linter cannot see: the shape of the tree, and what the project says of itself."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = {".py", ".md", ".toml", ".proto", ".yaml", ".yml", ".txt", ".cfg", ".sh"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


FILES = tracked()
SOURCES = [path for path in FILES if path.suffix == ".py" and "_pb2" not in path.name]


def test_ringmill_is_a_namespace() -> None:
    assert [path for path in FILES if path.name == "__init__.py" and path.parent.name == "ringmill"] == []


def test_every_portion_is_typed() -> None:
    packages = {path.parent for path in SOURCES if path.name == "__init__.py" and path.parent.parent.name == "ringmill"}
    assert [package for package in packages if not (package / "py.typed").exists() and package.name != "internal"] == []


@pytest.mark.parametrize("path", [path for path in SOURCES if "tests" not in path.parts], ids=lambda p: p.name)
def test_a_module_stays_small(path: Path) -> None:
    """A file is a concept: one that passes 450 lines holds more than one."""
    assert len(path.read_text().splitlines()) <= 450


def test_no_path_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in FILES
        if path.suffix in TEXT and path != Path(__file__)
        for line in path.read_text(errors="replace").splitlines()
        if pattern.search(line)
    ]
    assert found == []


def test_modules_are_mirrored_by_tests() -> None:
    """The folders of the tests are those of the packages."""
    known = {"core", "engine", "pipeline", "transport", "telemetry", "server", "balancer", "client", "cli", "loadtest"}
    known |= {"golden", "oracle", "sim", "integration", "bench", "fuzz"}
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in SOURCES if path.parent.parent == ROOT / "tests"}
    assert folders <= known


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or text.lstrip().startswith(('"""', "#!", "#")) or "tests" in path.parts
