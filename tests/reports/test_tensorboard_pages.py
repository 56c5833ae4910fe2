"""TensorBoard's pages of real runs, in a real browser."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blob.callbacks import PercentOfOptimum, PolicyMap
from config import Config
from train import train
from training.summary import CHARTS_PAGE

SCREENSHOTS = Path(__file__).parent.parent.parent / "screenshots"  # for people to look at; not in git
# Counts what is drawn of each kind, visible and not empty, inside TensorBoard's nested shadow roots.
COUNT = """
const found = {line: 0, drawn: 0, image: 0, histogram: 0, trial: 0, metric: 0};
const paths = (chart) => [...(chart.shadowRoot || chart).querySelectorAll('path')];
const has_line = (chart) => paths(chart).some(path => (path.getAttribute('d') || '').length > 30);
function walk(node) {
  for (const element of node.querySelectorAll('*')) {
    if (element.shadowRoot) walk(element.shadowRoot);
    if (element.getBoundingClientRect().width < 50) continue;
    switch (element.tagName.toLowerCase()) {
      case 'tf-custom-scalar-multi-line-chart-card': found.line++; break;
      case 'vz-line-chart2': found.drawn += has_line(element); break;
      case 'img': found.image += element.complete && element.naturalWidth > 50; break;
      case 'vaadin-grid-cell-content':
        found.trial += element.textContent.includes('Blob-v0-seed');
        found.metric += element.textContent.trim() === 'greedy/avg';
        break;
      case 'vz-histogram-timeseries': found.histogram += paths(element).length > 3; break;
    }
  }
}
walk(document);
return found;
"""


@pytest.fixture
def tensorboard(small_config: Callable[..., Config]) -> Iterator[str]:
    """The address of a TensorBoard server that shows two real runs."""
    config = small_config(episodes=100)
    train(config, [PercentOfOptimum(config), PolicyMap(config)])
    train(small_config(seed=8))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", config.logs_dir, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            address = f"http://localhost:{port}"
            until = time.monotonic() + 60
            while not runs(address):
                assert time.monotonic() < until, "the server has no runs"
                time.sleep(0.2)
            yield address
        finally:
            server.terminate()


def runs(address: str) -> list[str]:
    try:
        with urllib.request.urlopen(f"{address}/data/runs") as answer:
            return json.load(answer)
    except OSError:  # it is not up yet
        return []


def test_pages(tensorboard: str, browser: Any) -> None:
    """The address that a run prints opens the eight charts. Pictures and histograms are there, and a table compares the
    runs."""
    SCREENSHOTS.mkdir(exist_ok=True)
    needed = {
        CHARTS_PAGE.partition("#")[2]: {"line": 8, "drawn": 8},
        "images": {
            "image": 4
        },  # greedy play, untrained and trained, from the fixed start and the worst, and the policy map
        "histograms": {"histogram": 3},
        "hparams": {"trial": 2, "metric": 1},  # both runs, by name
    }
    for page, counts in needed.items():
        browser.get(f"{tensorboard}/#{page}")
        browser.refresh()
        until = time.monotonic() + 60
        found: dict[str, int] = {}
        while any(found.get(kind, 0) < count for kind, count in counts.items()):
            assert time.monotonic() < until, f"{page} shows {found}, not {counts}"
            time.sleep(0.5)
            found = browser.execute_script(COUNT)
        time.sleep(1)  # while charts are being drawn
        browser.save_screenshot(str(SCREENSHOTS / f"{page}.png"))
