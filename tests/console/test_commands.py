"""Commands that are printed can be pasted, wherever, whether the environment is activated or not."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import ROOT

from console.commands import script, tool

BIN = Path(sys.executable).parent


def test_in_the_projects_folder_with_an_activated_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin")
    monkeypatch.chdir(ROOT)
    assert script("play.py", "my models/x", "--show-q") == "python play.py 'my models/x' --show-q"
    assert tool("tensorboard", "--logdir", "logs") == "tensorboard --logdir logs"


def test_elsewhere_and_with_another_python_in_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("python", "tensorboard"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert script("play.py") == shlex.join([str(BIN / "python"), str(ROOT / "play.py")])
    assert tool("tensorboard") == shlex.join([str(BIN / "tensorboard")])
    monkeypatch.chdir(BIN.parent)  # as in the folder above .venv, the path is relative
    assert tool("tensorboard") == f"{BIN.name}/tensorboard"
    printed = script("play.py", "--help")
    shown = subprocess.run(printed, shell=True, cwd=Path.cwd(), capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0 and "--show-q" in shown.stdout
