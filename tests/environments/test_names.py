"""Names of environments: what a user may call one, and what is said where there is none."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import gymnasium as gym
import pytest

from config import Config
from console.errors import InputError
from environments.make import make_env, time_limit
from environments.names import PROJECT, find_spec

OWN_FILE = """
import gymnasium as gym
from tests.environments.odd_env import Odd

class Mine(Odd):
    pass

def register_envs():
    gym.register("OnDemand-v0", Mine, max_episode_steps=5)

gym.register("Registered-v3", Mine, max_episode_steps=4)
"""
OWN_NAME = "own_file_of_a_user"


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a user's file in it."""
    (tmp_path / f"{OWN_NAME}.py").write_text(OWN_FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, OWN_NAME, raising=False)
    for env_id in ("Registered-v3", "OnDemand-v0"):
        gym.registry.pop(env_id, None)
    return tmp_path


@pytest.mark.parametrize("module", [OWN_NAME, f"{OWN_NAME}.py", f"./{OWN_NAME}.py"])
def test_a_users_own_file(own_folder: Path, module: str) -> None:
    env = make_env(Config.from_preset(env=f"{module}:Mine", env_args={"wrong": "mask"}))
    assert type(env.unwrapped).__name__ == "Mine" and env.unwrapped.wrong == "mask"  # type: ignore[attr-defined]
    assert time_limit(make_env(Config.from_preset(env=f"{module}:Registered-v3"))) == 4
    assert time_limit(make_env(Config.from_preset(env=f"{module}:OnDemand-v0"))) == 5  # as MinAtar's
    del gym.registry["OnDemand-v0"]
    with pytest.raises(InputError, match=rf"{OWN_NAME}.*:Missing: the module has no class Missing derived from"):
        find_spec(f"{module}:Missing")


def test_a_file_for_the_old_gym(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gym", None)  # as if it were not installed
    (own_folder / "old_game.py").write_text("import gym\n")
    with pytest.raises(InputError, match=r"cannot import old_game.py .*; it is written for the old Gym: look for"):
        find_spec("old_game.py:Game-v0")


def test_a_file_in_another_folder_finds_the_files_beside_it(own_folder: Path) -> None:
    (own_folder / "games").mkdir()
    (own_folder / "games" / "beside_it.py").write_text(OWN_FILE)
    (own_folder / "games" / "maze.py").write_text("from beside_it import Mine\nclass Maze(Mine): pass\n")
    spec, _ = find_spec("games/maze.py:Maze")
    assert spec.entry_point is find_spec("games/../games/maze.py:Maze")[0].entry_point  # imported once
    with pytest.raises(InputError, match=r"cannot import games/none.py from .*there is no such file"):
        find_spec("games/none.py:Maze")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("nowhere.at_all:Mine", r"--env: cannot import nowhere.at_all from .*No module named 'nowhere'"),
        # A model file names an environment. That must not be a way to call anything else.
        ("os:getcwd", r"os:getcwd: the module has no class getcwd derived from gymnasium.Env"),
        ("PongNoFrameskip-v4", r"Use ALE/Pong-v5"),
        ("SpaceInvadersDeterministic-v0", r"use ALE/SpaceInvaders-v5"),
        ("Pong-v4", r"use ALE/Pong-v5"),
        ("ale_py:PongNoFrameskip-v4", r"use ALE/Pong-v5, whose screens are preprocessed here"),
        ("Other/Pong-v1", r"name both, as in my_package:Other/Pong-v1"),
        ("CartPole", r"Use CartPole-v1\."),
        ("Lunar", r"\? Use LunarLander-v3 or LunarLanderContinuous-v3\.$"),
        ("Invaders", r"Use ALE/SpaceInvaders-v5\.$"),  # not the old names, which are refused
        ("LunarLander-v2", r"use `LunarLander-v3` instead"),
        ("Nowhere-v0", r"there is no environment 'Nowhere-v0': .* name both, as in my_package:Nowhere-v0"),
        ("Hypothesis/Tests-v1", r"If the installed hypothesis has it, use hypothesis:Hypothesis/Tests-v1"),
    ],
)
def test_what_is_said_where_there_is_none(env: str, message: str) -> None:
    with pytest.raises(InputError, match=f"(?i){message}"):
        make_env(Config.from_preset(env=env))


def test_an_old_version_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    find_spec("CartPole-v0")
    find_spec("CartPole-v1")
    assert capsys.readouterr().err == "warning: CartPole-v0 is old: CartPole-v1 is its newest version\n"


@pytest.mark.parametrize(
    ("code", "env", "answered"),
    [
        ("from config import GRID", "my_game:Game", "config is this project's .*config.py"),
        ("import config; config.GRID", "my_game:Game", "config is this project's .*config.py"),
        ("", "report:Game", "report is this project's .*report.py"),
        ("", "examples.grid:Corridor", "examples is this project's .*examples.__init__.py"),
    ],
)
def test_a_file_that_this_project_hides(code: str, env: str, answered: str, tmp_path: Path) -> None:
    """In a process of its own, since tests import from the project's folder first, as the scripts do."""
    (tmp_path / "my_game.py").write_text(code)
    call = f"""
        import sys
        sys.path[0] = {str(PROJECT)!r}
        from environments.names import find_spec
        from console.errors import exit_on_bad_input
        with exit_on_bad_input():
            find_spec({env!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(call)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert re.search(f"{answered}: if you mean a file of yours, give it another name", done.stderr)


@pytest.mark.parametrize(("env", "package"), [("ALE/Pong-v5", "ale_py"), ("VizdoomBasic-v1", "vizdoom")])
def test_a_missing_package_gives_the_pip_line(env: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"{package}.gymnasium_wrapper", raising=False)
    line = f"needs the package {package}: pip install -r requirements-extra.txt"
    with pytest.raises(InputError, match=line):
        make_env(Config.from_preset(env=env))
