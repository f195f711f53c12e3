"""The report in a real browser: it fetches nothing, fits the window, and its lines are lines."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from ringmill.loadtest.runner.html import page
from tests.loadtest.test_loadtest_report import made_report, scenario, step

BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,800", "--virtual-time-budget=1000"]
ASK = """<pre id="told"></pre><script>
const style = (selector, name) => [...document.querySelectorAll(selector)].map(e => getComputedStyle(e)[name]);
const boxes = [...document.querySelectorAll("svg polyline, svg circle, svg text")].filter(e => {
  const box = e.getBoundingClientRect(), frame = e.ownerSVGElement.getBoundingClientRect();
  return box.right > frame.right + 1 || box.left < frame.left - 1 || box.top < frame.top - 1
    || box.bottom > frame.bottom + 1; });
document.getElementById("told").textContent = JSON.stringify({
  fetched: performance.getEntriesByType("resource").length, wide: document.documentElement.scrollWidth,
  fill: style("polyline", "fill"), stroke: style("polyline", "stroke"), outside: boxes.map(e => e.outerHTML) });
</script></body>"""


def ask(tmp_path: Path, html: str) -> dict[str, Any]:
    """Opens a page, and has it tell of itself."""
    assert BROWSER is not None
    file = tmp_path / "page.html"
    file.write_text(html.replace("</body>", ASK))
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    told = re.search(r'<pre id="told">(.*?)</pre>', dumped, re.DOTALL)
    assert told is not None
    found: dict[str, Any] = json.loads(unescape(told[1]))
    return found


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here (Debian: apt install chromium-headless-shell)")
def test_a_browser_shows_it_as_it_is_meant(tmp_path: Path) -> None:
    made = scenario()
    found = ask(tmp_path, page(made_report(made, step(made, 500), step(made, 20_000, slow_ms=900))))
    assert found["fetched"] == 0
    assert found["wide"] <= 1000
    assert len(found["fill"]) == 5 + 2 + 2 + 3  # against rate, by percentile, throughput and latency over time
    assert set(found["fill"]) == {"none"}
    assert "none" not in found["stroke"]
    assert found["outside"] == []
