"""The notebook runs from the first cell to the last, without TensorFlow's log, and shows what it should."""

import shutil
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from scripts import ROOT


@pytest.fixture
def project_in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def text_of(cell: Any) -> str:
    """All that a cell has printed and shown as text."""
    shown = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(shown)


def test_the_quickstart(tmp_path: Path, project_in_path: None) -> None:
    folder = tmp_path / "examples"
    folder.mkdir()
    shutil.copy(ROOT / "examples" / "quickstart.ipynb", folder)
    notebook = nbformat.read(folder / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    imports, training, plot, loaded, loop, scores, film, other = [c for c in notebook.cells if c.cell_type == "code"]
    assert imports.outputs == []  # TensorFlow is quiet
    assert "RunResult(Blob-v0-seed1-" in text_of(training)
    assert any("image/png" in output.get("data", {}) for output in plot.outputs)
    assert "Agent(Blob-v0, greedy " in text_of(loaded) and "possible" in text_of(loaded)
    assert -200 <= float(text_of(loop)) <= 25 and "'avg': " in text_of(scores)
    assert any("image/gif" in output.get("data", {}) for output in film.outputs)
    assert "RunResult(CartPole-v1-seed1-" in text_of(other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["examples", "logs", "models"]


def test_a_second_stop_leaves_the_kernel_alive(tmp_path: Path, project_in_path: None) -> None:
    kernel = KernelManager()
    kernel.start_kernel(cwd=str(tmp_path))
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        client.execute("precious = 42\nfrom dqn import train")
        endless = "train(env_args={'size': 4}, episodes=10**6, network='dense', seed=1)"
        # Otherwise the kernel refuses for a moment what is sent after a cell that failed.
        training = client.execute(endless, stop_on_error=False)
        while not list(tmp_path.glob("models/*/best.model")):
            time.sleep(0.1)
        for _ in range(2):
            kernel.interrupt_kernel()
            time.sleep(0.02)
        # Cells that were waiting when another failed are not run, so wait for the training's to end.
        while client.get_shell_msg(timeout=120)["parent_header"]["msg_id"] != training:
            pass
        answer = client.execute_interactive("print(precious)", timeout=120, output_hook=lambda _: None)
        assert answer["content"]["status"] == "ok" and kernel.is_alive()
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
