"""The version of Python is checked by whatever Python there is, before anything is installed."""

import ast
import sys

import pytest
from scripts import ROOT, assert_refused, run


@pytest.mark.parametrize("version", [(3, 8), (3, 10), (3, 14)])
def test_unsupported_python(version: tuple[int, int]) -> None:
    code = f"import runpy, sys; sys.version_info = (*{version}, 0, 'final', 0); "
    code += "runpy.run_module('console.python_version', run_name='__main__')"
    assert_refused(run("-c", code), "make: error: this is Python 3", "use Python 3.11, 3.12 or 3.13")


def test_this_python_is_supported_silently() -> None:
    checked = run("-m", "console.python_version")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


SCRIPTS = sorted(path.name for path in ROOT.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_checks_first(name: str) -> None:
    """Python 3.8 can read it, and nothing is imported before the check."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 8))
    future, first = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)][:2]
    assert isinstance(future, ast.ImportFrom) and future.module == "__future__"
    assert isinstance(first, ast.Import) and first.names[0].name == "console.requirements"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_without_its_packages(name: str) -> None:
    """With -S, Python does not look where packages are installed."""
    assert_refused(run("-S", name), f"{name}: error: the packages of this project are not installed for this Python: ")


def test_the_check_runs_on_an_old_python_with_nothing_installed() -> None:
    """Every module it imports has the syntax of 3.8, needs only the standard library and evaluates no annotation."""
    to_read, seen = ["console", "console.python_version", "console.requirements"], set()
    while to_read:
        module = to_read.pop()
        seen.add(module)
        path = ROOT / module.replace(".", "/")
        text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        tree = ast.parse(text, feature_version=(3, 8))
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        names = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in imports}
        assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names | {"console"}, module
        # Newer than 3.8 are typing.Self, for instance, and subscripts of collections.abc outside of annotations.
        assert {alias.name for node in imports if node.module == "typing" for alias in node.names} <= {"Any", "TextIO"}
        assert module == "console" or "annotations" in {alias.name for alias in imports[0].names}, module
        to_read += [name for name in names if name.startswith("console") and name not in seen]
    needed = ("python_version", "requirements", "errors", "messages")
    assert seen == {"console", *(f"console.{name}" for name in needed)}
