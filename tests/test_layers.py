"""Imports point down only: the contract of import-linter in pyproject.toml."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUTSIDE = {"tests", "experiments", "examples"}  # may import anything, and nothing imports them


def copy_as_package(folder: Path) -> None:
    """Copy the project into one package, `project`, since import-linter reads no modules outside of packages."""
    rooms = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name not in OUTSIDE]
    modules = [*ROOT.glob("*.py"), *(path for room in rooms for path in room.rglob("*.py"))]
    names = "|".join(sorted({path.relative_to(ROOT).parts[0].removesuffix(".py") for path in modules}))
    for path in modules:
        copy = folder / "project" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        text = re.sub(rf"^(\s*)from ({names})\b", r"\1from project.\2", text, flags=re.M)
        copy.write_text(
            re.sub(rf"^(\s*)import ({names})\b", r"\1import project.\2", text, flags=re.M), encoding="utf-8"
        )
    (folder / "project" / "__init__.py").touch()


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", str(ROOT / "pyproject.toml")]
    return subprocess.run([*command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_imports_point_down(tmp_path: Path) -> None:
    copy_as_package(tmp_path)
    done = lint(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_an_import_that_points_up_is_noticed(tmp_path: Path) -> None:
    copy_as_package(tmp_path)
    with (tmp_path / "project" / "environments" / "spaces.py").open("a") as file:
        file.write("\nfrom project.agent import DQNAgent\n")
    done = lint(tmp_path)
    assert done.returncode == 1 and "project.environments is not allowed to import project.agent" in done.stdout


def test_the_root_is_a_title_page() -> None:
    assert len(list(ROOT.glob("*.py"))) <= 14
