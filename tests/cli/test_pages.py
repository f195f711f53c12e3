"""The pages lead somewhere: their links, and the code and tests that the threat model calls upon."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / portion / "ringmill" for portion in ("server", "balancer", "clients/python", "loadtest")]
MODEL = (ROOT / "docs" / "threat-model.md").read_text()


def pages() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().splitlines() if (ROOT / name).is_file()]


def anchors(page: Path) -> set[str]:
    """What may stand behind a # to name one of the page's headings, as the usual hosts make it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    lost = []
    for page in pages():
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
                lost.append(f"{page.relative_to(ROOT)}: {link}")
    assert lost == []


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", MODEL))), ids="::".join)
def test_the_threat_model_names_tests_that_exist(named: tuple[str, str]) -> None:
    file, test = named
    assert re.search(rf"^def {test}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`([a-z_/]+(?:\.py|/))`", MODEL))))
def test_the_threat_model_names_code_that_exists(file: str) -> None:
    assert any((folder / file).exists() for folder in [*PACKAGES, ROOT, ROOT / "tests"])
