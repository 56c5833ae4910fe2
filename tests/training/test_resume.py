"""A resumed run equals one that was never interrupted, bit for bit, in its models, memory and curves."""

import csv
import dataclasses
import json
import os
import signal
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ale_py
import gymnasium as gym
import keras
import numpy as np
import optree
import pytest
from conftest import transitions
from interruptions import interrupted_after

from blob_env import BlobVectorEnv
from config import Config
from console.errors import InputError
from environments.lanes import make_lanes
from environments.make import make_env
from environments.resume import ResumableEnv
from experiments.kill_test import SETTINGS, differences, fingerprint
from experiments.kill_test import test as kill_and_resume
from storage.checkpoint import checkpoint_numbers
from storage.run_folder import lock_run, record_start, settings_to_resume
from storage.runs import find_run_to_resume
from train import train
from training.agents import make_agent
from training.run import Run
from training.summary import summary

gym.register_envs(ale_py)
MakeConfig = Callable[..., Config]


class Interrupt(keras.callbacks.Callback):
    """Sends Ctrl-C, or another signal, at the end of a window."""

    def __init__(self, window: int, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.window, self.number = window, number

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == self.window:
            signal.raise_signal(self.number)


def with_dropout(observation_space: gym.Space, n_actions: int) -> keras.Model:
    """Build a network that draws random numbers while it learns."""
    inputs = keras.Input(observation_space.shape, dtype="uint8")
    features = keras.layers.Dropout(0.5)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, keras.layers.Dense(n_actions)(features))


def extra_callbacks(folder: Path) -> list[keras.callbacks.Callback]:
    return [
        # No window is better than the first, so it stops in the seventh, if its state was restored.
        keras.callbacks.EarlyStopping(monitor="episode", mode="min", patience=6),
        keras.callbacks.CSVLogger(str(folder / "log.csv")),
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "auto"},
        {"env": "CartPole-v1", "env_args": {}, "learn_every": 4, "n_step": 3, "prioritized": False},
        {"env": "Taxi-v4", "env_args": {}, "max_episode_steps": 20, "frame_stack": 2, "steps": 600, "episodes": 999},
        {"network": f"{__file__}:with_dropout", "target_update": "soft"},
        {"method": "sarsa-lambda", "env_args": {"size": 4, "observation": "cells"}, "learning_rate": 0.5},
    ],
    ids=["Blob", "CartPole", "Taxi", "dropout", "table"],
)
def test_interrupted_and_resumed_is_the_same(
    small_config: MakeConfig, tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def config_in(folder: str) -> Config:
        path = tmp_path / folder
        path.mkdir()
        settings_here = {**settings, "aggregate_every": 7, "memory_size": 200, "evaluate_every": 14}
        return small_config(**settings_here, models_dir=str(path / "models"), logs_dir=str(path / "logs"))

    config = config_in("whole")
    train(config, extra_callbacks(tmp_path / "whole"))
    config = config_in("broken")
    callbacks = extra_callbacks(tmp_path / "broken")
    with interrupted_after(30):
        run = train(config, callbacks)
    assert checkpoint_numbers(run.log_dir / "checkpoints")[0] == 120  # four lanes
    assert run.interrupted == signal.SIGINT and "--resume" in summary(run)
    with interrupted_after(25, signal.SIGTERM):
        again = train(config, [*extra_callbacks(tmp_path / "broken"), Interrupt(99)], run.log_dir)
    assert again.interrupted == signal.SIGTERM
    warned = capsys.readouterr().err
    assert "the callback Interrupt starts from scratch" in warned and warned.count("from scratch") == 1
    last = train(config, extra_callbacks(tmp_path / "broken"), run.log_dir)
    assert not last.interrupted and last.best and last.last
    assert differences(fingerprint(tmp_path / "broken"), fingerprint(tmp_path / "whole")) == []
    rows = [list(csv.reader((tmp_path / folder / "log.csv").open())) for folder in ("whole", "broken")]
    timed = rows[0][0].index("steps_per_second")
    assert [row[:timed] + row[timed + 1 :] for row in rows[0]] == [row[:timed] + row[timed + 1 :] for row in rows[1]]
    assert len(list((tmp_path / "broken" / "models").glob("*/*"))) == 2


def test_a_finished_run_is_extended_or_left_alone(small_config: MakeConfig) -> None:
    config = small_config(episodes=40)
    run = train(config)
    given = {"logs_dir": config.logs_dir, "models_dir": config.models_dir}
    finished = "is finished: --episodes, above 40, extends it"
    with pytest.raises(InputError, match=finished):
        settings_to_resume(run.log_dir, {"steps": 10**6, "models_dir": config.models_dir})
    with pytest.raises(InputError, match=finished):
        settings_to_resume(run.log_dir, given)
    longer = settings_to_resume(run.log_dir, {**given, "episodes": 60})
    assert longer == dataclasses.replace(config, episodes=60)
    extended = train(longer, resume=run.log_dir)
    assert extended.episodes == 60 and extended.agent.episodes >= 60
    made = json.loads((run.log_dir / "run.json").read_text())
    assert len(made["starts"]) == 2 and made["config"]["episodes"] == 60
    assert extended.log_dir == run.log_dir and len(list((Path(config.models_dir) / run.name).iterdir())) == 2


def test_settings_that_cannot_change(small_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_config()
    run = train(config, [Interrupt(0)])
    given = {"logs_dir": config.logs_dir, "models_dir": config.models_dir}
    assert settings_to_resume(run.log_dir, given) == config
    with pytest.raises(InputError, match="leave out --learning-rate, --seed"):
        settings_to_resume(run.log_dir, {**given, "learning_rate": 1.0, "seed": 2})
    with pytest.raises(InputError, match="Repeat it: --models-dir"):
        settings_to_resume(run.log_dir, {})
    with pytest.raises(InputError, match="made with --env Blob-v0, which cannot change"):
        settings_to_resume(run.log_dir, {**given, "env": "CartPole-v1"})
    with pytest.raises(InputError, match="made with --env-args"):
        settings_to_resume(run.log_dir, {**given, "env_args": {"size": 8}})
    with pytest.raises(InputError, match="made with --network dense"):
        settings_to_resume(run.log_dir, {**given, "network": "auto"})
    assert settings_to_resume(run.log_dir, {**given, "env": "Blob-v0", "env_args": {"size": 4}}) == config
    with lock_run(run.log_dir), pytest.raises(InputError, match="in use by another process"):
        train(config, resume=run.log_dir)
    for name in ("latest", run.name, str(run.log_dir)):
        assert find_run_to_resume(name, config.logs_dir) == run.log_dir
    with pytest.raises(InputError, match="there is no run nothing"):
        find_run_to_resume("nothing", config.logs_dir)
    made = json.loads((run.log_dir / "run.json").read_text())
    (start,) = made["starts"]
    assert start["versions"]["keras"] == keras.__version__ and made["config"]["seed"] == 7
    assert start["versions"]["this project"] == "none" or len(start["versions"]["this project"]) == 40
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.run_folder.versions", lambda: {**start["versions"], "keras": "9.9"})
        record_start(run.log_dir, config)
    assert f"was made with keras {keras.__version__}, this is 9.9" in capsys.readouterr().err
    for path in (run.log_dir / "checkpoints").glob("checkpoint-*.json"):
        path.write_text("{}")
    with pytest.raises(InputError, match="no intact checkpoint"):
        train(config, resume=run.log_dir)


def test_a_resumed_run_does_not_read_the_weights_that_it_started_from(small_config: MakeConfig) -> None:
    first = train(small_config(episodes=20))
    assert first.best
    run = train(small_config(init_from=str(first.best.path)), [Interrupt(0)])
    first.best.path.unlink()
    assert train(run.config, resume=run.log_dir).episodes == 60


def test_the_state_that_was_read_is_freed(small_config: MakeConfig) -> None:
    """The arrays of a checkpoint are large, and not needed any more once the run goes on."""
    run = train(small_config(), [Interrupt(0)])
    with make_lanes(run.config, run.config.lanes, resumable=True) as envs:
        resumed = Run(run.config, make_agent(run.config, envs), envs, resume=run.log_dir)
        assert resumed._state
        array = weakref.ref(resumed._state["agent"]["memory"]["priorities"])
        assert array() is not None
        with resumed:
            resumed.begin()
            assert array() is None


def go_on(env: Any, actions: list[int]) -> list[Any]:
    """Step an environment, with resets. Returns the observation, reward and end of every step."""
    trace: list[Any] = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        trace.append((optree.tree_map(np.array, observation), float(reward), terminated, truncated))
        if terminated or truncated:
            trace.append((optree.tree_map(np.array, env.reset()[0]),))
    return trace


@pytest.mark.parametrize(
    "settings",
    [
        {"env": "CartPole-v1"},
        {"env": "MountainCar-v0"},
        {"env": "Acrobot-v1", "frame_stack": 3},
        {"env": "FrozenLake-v1"},  # slippery: it draws numbers in every step
        {"env": "Taxi-v4"},
        {"env": "CliffWalking-v1", "max_episode_steps": 30},
        {"env": "LunarLander-v3"},
        {"env": "Blob-v0", "env_args": {"enemy_moves": True}},
        {"env": "ALE/Breakout-v5", "frame_stack": 4},
        {"env": "ALE/Breakout-v5", "frame_stack": 4, "max_episode_steps": 50},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_environments_go_on_where_they_stood(settings: dict[str, Any]) -> None:
    config = Config.from_preset(**{"frame_stack": 1, **settings})
    generator = np.random.default_rng(0)
    env, other = ResumableEnv(make_env(config)), ResumableEnv(make_env(config))
    env.reset(seed=5)
    other.reset(seed=6)
    n_actions = int(env.action_space.n)  # type: ignore[attr-defined]
    for steps in (0, 1, 40, 150):
        go_on(env, generator.integers(n_actions, size=steps).tolist())
        state = env.get_state()
        other.set_state(state)
        actions = generator.integers(n_actions, size=120).tolist()
        pairs = zip(go_on(env, actions), go_on(other, actions), strict=True)
        assert all(optree.tree_all(optree.tree_map(np.array_equal, a, b)) for a, b in pairs)
        assert other.np_random.bit_generator.state == env.np_random.bit_generator.state


class Unrepeatable(gym.Env):
    """Draws from a generator that cannot be set."""

    observation_space = gym.spaces.Box(-9, 9, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action: int) -> Any:
        return self._observe(), 0.0, False, False, {}

    def _observe(self) -> np.ndarray:
        return np.array([int.from_bytes(os.urandom(2), "big") / 1e5], np.float32)


def test_a_lane_that_cannot_be_repeated_starts_a_new_episode() -> None:
    config = Config.from_preset(env=f"{__name__}:Unrepeatable", max_episode_steps=50)
    envs = make_lanes(config, 2, resumable=True)
    observations, masks = envs.reset(seed=1)
    before = observations.copy()
    restarted = envs.set_state(envs.get_state(), observations, masks)
    assert restarted == dict.fromkeys((0, 1), "the same actions led elsewhere") and (observations != before).all()


def test_a_run_whose_lanes_were_restarted_goes_on(small_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    """Their episodes end as truncated where the run was interrupted, and still do when it is resumed again."""
    config = small_config(env=f"{__name__}:Unrepeatable", env_args={}, max_episode_steps=9, lanes=2, memory_size=1000)
    run = train(config, [Interrupt(0)])
    assert run.agent.memory
    cut_at = run.agent.memory.steps - 1
    for window in (1, 2):
        capsys.readouterr()
        run = train(config, [Interrupt(window)], run.log_dir)
        assert "lane 1 starts a new episode, so the run is not the same" in capsys.readouterr().err
        assert run.agent.memory
        assert [transitions(run.agent.memory)[2 * cut_at + lane].truncated for lane in range(2)] == [True, True]


def test_boards_go_on_where_they_stood() -> None:
    envs = [BlobVectorEnv(8, size=4, enemy_moves=True) for _ in range(2)]
    generator = np.random.default_rng(0)
    for seed, each in enumerate(envs):
        each.reset(seed=seed)
    for _ in range(30):
        envs[0].step(generator.integers(9, size=8))
    envs[1].set_state(envs[0].get_state())
    for _ in range(30):
        actions = generator.integers(9, size=8)
        for a, b in zip(*[each.step(actions)[:4] for each in envs], strict=True):
            np.testing.assert_array_equal(a, b)


def test_killed_and_resumed_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """The short version of `python -m experiments.kill_test`, which kills 50 times."""
    assert kill_and_resume(1, 3, [*SETTINGS, "--episodes", "300", "--network", "dense"]), capsys.readouterr().out
