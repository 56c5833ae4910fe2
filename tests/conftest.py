"""TensorFlow is imported once for all tests, quietly."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optree
import psutil
import pytest

from console.tensorflow_import import import_tensorflow

pytest.register_assert_rewrite("histories")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # every core has a worker of its own; the Makefile tells NumPy
import_tensorflow()

from agent import DQNAgent  # noqa: E402
from config import Config  # noqa: E402
from environments.lanes import Step  # noqa: E402
from environments.make import make_env  # noqa: E402
from replay_memory import ReplayMemory  # noqa: E402
from storage.model_file import ModelInfo, save_model  # noqa: E402
from storage.versions import versions  # noqa: E402


def save_untrained(path: Path, config: Config) -> tuple[DQNAgent, ModelInfo]:
    """Write the `.model` file of an untrained agent. Returns the agent and what the file says of it."""
    env = make_env(config)
    agent = DQNAgent(env.observation_space, env.action_space, config)
    spaces = str(env.observation_space), str(env.action_space)
    saved = ModelInfo(config, *spaces, 100, {"avg": 1.5, "min": -3.0, "max": 25.0}, versions())
    save_model(path, agent.online, saved)
    return agent, saved


class Transition(NamedTuple):
    """One step of one lane, as a replay memory holds it. A terminated step does not count as truncated."""

    observation: Any
    action: int
    reward: float
    terminated: bool
    truncated: bool
    next_observation: Any
    next_mask: np.ndarray
    mask: np.ndarray


def append(
    memory: ReplayMemory,
    observations: Any,
    actions: Any,
    rewards: Any,
    terminated: Any,
    truncated: Any,
    next_observations: Any,
    next_masks: Any = True,
    masks: Any = None,
) -> None:
    """Append a step of every lane, given in the order of a `Transition`."""
    step = Step(rewards, terminated, truncated, next_observations, next_masks)
    memory.append(observations, actions, step, masks)


def transitions(memory: ReplayMemory) -> list[Transition]:
    """List all transitions in a memory, the oldest first and lane 0 before lane 1."""
    count = len(memory)
    held = memory.frames.n_step(memory.frames.slots(np.arange(count)), 1, 1.0)
    ended = memory.get_steps(memory.steps - count // memory.lanes)["ended"].ravel()
    return [
        Transition(
            optree.tree_map(lambda array, i=i: array[i], held.observations),
            int(held.actions[i]),
            float(held.returns[i]),
            bool(held.discounts[i] == 0),
            bool(ended[i] and held.discounts[i] != 0),
            optree.tree_map(lambda array, i=i: array[i], held.next_observations),
            held.next_masks[i],
            held.masks[i],
        )
        for i in range(count)
    ]


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DQNAgent, ModelInfo]:
    """A `.model` file for a 4x4 board, its agent, and what the file says of it."""
    path = tmp_path_factory.mktemp("models") / "x.model"
    return path, *save_untrained(path, Config(env_args={"size": 4}, seed=3))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, driven by selenium."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("no browser is installed (Debian's packages chromium and chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (
        # Else it calls its maker's hosts and looks for a GPU. As root it cannot have a sandbox.
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync", "window-size=1400,1300"),
    ):
        options.add_argument(f"--{flag}")
    chromium = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield chromium
    chromium.quit()


@pytest.fixture(scope="session")
def must_end() -> Iterator[list[psutil.Process]]:
    """Processes that must have ended by themselves when all tests are over: Ray's agents take a minute."""
    processes: list[psutil.Process] = []
    yield processes
    assert psutil.wait_procs(processes, timeout=90)[1] == []


@pytest.fixture
def small_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Makes settings of a run of a second or two on a 4x4 board, with its files in the test's own folder."""

    def make(**settings: Any) -> Config:
        defaults: dict[str, Any] = {
            "env_args": {"size": 4},
            "episodes": 60,
            "seed": 7,
            "lanes": 4,
            "network": "dense",  # traced in a fifth of the grid network's time
            "aggregate_every": 20,
            "evaluate_every": 20,
            "evaluate_episodes": 20,
            "batch_size": 16,
            "learn_start": 50,
            "learn_every": 32,
            "epsilon_spread": 1.0,  # lanes that play at random make episodes long
            "max_episode_steps": 40,  # most of the time would go into films of untrained agents
            "models_dir": str(tmp_path / "models"),
            "logs_dir": str(tmp_path / "logs"),
        }
        monkeypatch.setattr("agent.suits_xla", lambda _: False)  # compiling would take half of such a run's time
        return Config(**{**defaults, **settings})

    return make
