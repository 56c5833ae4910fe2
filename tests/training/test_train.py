"""The training loop: its logs, callbacks and models, its determinism, and that it learns."""

import dataclasses
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import pytest
from conftest import transitions
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import train as train_module
from agent import DQNAgent
from blob.callbacks import PercentOfOptimum, judges
from blob.judge import judge_model
from blob.solver import start_means
from blob_env import BlobVectorEnv
from config import Config
from console.errors import InputError
from environments.lanes import Step
from replay_memory import ReplayMemory
from reports.curves import read_points
from storage.loading import load_network, make_saved_env
from storage.model_file import read_model
from train import train
from training.callbacks import RunCallback
from training.evaluation import EVALUATION_SEED
from training.models import ModelRecord
from training.result import RunResult
from training.summary import summary
from training.tags import tag
from training.windows import Window

MakeConfig = Callable[..., Config]
TIMES = {"run/steps_per_second"}


def read_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read (step, value) of every scalar in a run's event file, by tag."""
    scalars: dict[str, list[tuple[int, float]]] = {}
    for name, step, value in read_points(folder):
        scalars.setdefault(name, []).append((step, value))
    return scalars


def best_of(result: RunResult) -> ModelRecord:
    assert result.best is not None
    return result.best


def memory_of(result: RunResult) -> ReplayMemory:
    assert result.agent.memory is not None
    return result.agent.memory


class Recorder(keras.callbacks.Callback):
    """Records the logs of every window."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert epoch == len(self.windows)
        self.windows.append(dict(logs or {}))


def test_event_file_holds_every_window(small_config: MakeConfig) -> None:
    recorder = Recorder()
    run = train(small_config(episodes=65), [recorder])
    scalars = read_scalars(run.log_dir)
    # 65 episodes are windows of 20, 20, 20 and the 5 left over, each at its last episode.
    assert [step for step, _ in scalars["reward/avg"]] == [20, 40, 60, 65]
    assert scalars.keys() >= {
        *(
            "reward/avg",
            "reward/min",
            "reward/max",
            "run/epsilon",
            "run/loss",
            "run/q_mean",
            "run/q_max",
            "run/episode_length",
        ),
        *("run/steps_per_second", "run/updates", "run/memory_fill", "greedy/avg"),
    }
    for name in recorder.windows[0].keys() - {"episode"}:
        expected = [logs[name] for logs in recorder.windows if np.isfinite(logs[name])]
        np.testing.assert_allclose([value for _, value in scalars[tag(name)]], expected, rtol=1e-6, err_msg=name)


def test_event_file_holds_the_settings(small_config: MakeConfig) -> None:
    run = train(small_config(episodes=20))
    events = EventAccumulator(str(run.log_dir))
    events.Reload()
    text = events.Tensors("settings")[0].tensor_proto.string_val[0].decode()
    assert "| batch_size | 16 |" in text and "| env_args | {'size': 4} |" in text
    content = HParamsPluginData.FromString(events.PluginTagToContent("hparams")["_hparams_/session_start_info"])
    hparams = content.session_start_info.hparams
    assert hparams["batch_size"].number_value == 16 and hparams["env"].string_value == "Blob-v0"
    assert set(hparams) == {field.name for field in dataclasses.fields(Config)}


class KnownEnv(gym.Env):
    """Has episodes of known lengths and rewards: episode k takes k % 3 + 1 steps with a reward of k each."""

    observation_space = gym.spaces.Box(0, 1000, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.episode = -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.episode = 0 if seed is not None else self.episode + 1
        self.left = self.episode % 3 + 1
        return np.array([self.episode], np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.left -= 1
        return np.array([self.episode], np.float32), float(self.episode), self.left == 0, False, {}


gym.register("Known-v0", f"{__name__}:KnownEnv")


def test_window_numbers_by_hand(small_config: MakeConfig) -> None:
    # One lane; episodes 0..5 have 1, 2, 3, 1, 2, 3 steps and returns 0, 2, 6, 3, 8, 15.
    recorder = Recorder()
    config = small_config(env="Known-v0", env_args={}, lanes=1, episodes=6, aggregate_every=3, evaluate_episodes=1)
    config = dataclasses.replace(
        config, learn_start=2, learn_every=2, epsilon_decay=0.5, epsilon_min=0.0, epsilon_spread=0.0
    )
    train(config, [recorder])
    first, second = recorder.windows
    assert (first["reward_min"], first["reward_avg"], first["reward_max"]) == pytest.approx((0, 8 / 3, 6))
    assert (second["reward_min"], second["reward_avg"], second["reward_max"]) == pytest.approx((3, 26 / 3, 15))
    assert first["episode_length"] == second["episode_length"] == 2
    assert (first["steps"], second["steps"]) == (6, 12)
    assert (first["updates"], second["updates"]) == (3, 6)
    assert (first["epsilon"], second["epsilon"]) == (0.5**3, 0.5**6)
    assert second["memory_fill"] == 12 / config.memory_size


def test_the_last_evaluation_is_logged_by_a_run_of_so_many_steps(small_config: MakeConfig) -> None:
    # Windows of two episodes are full after 3, 7, 12 and 15 steps. Looks are due at 3 and 7, the next one at 14.
    recorder, looking = Recorder(), RunCallback()
    config = small_config(env="Known-v0", env_args={}, lanes=1, aggregate_every=2, evaluate_every=100, learn_start=2)
    train(dataclasses.replace(config, steps=15, evaluate_episodes=1), [recorder, looking])
    assert [logs["steps"] for logs in recorder.windows] == [3, 7, 12, 15]
    assert ["look_greedy_avg" in logs for logs in recorder.windows] == [True, True, False, False]
    assert ["greedy_avg" in logs for logs in recorder.windows] == [False, False, False, True]
    assert looking.evaluation.count == 3


def test_windows_show_the_lanes_that_explore_least_now(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, given, logs = Recorder(), [], Window.logs

    def noting(window: Window, epsilon: float) -> dict[str, float]:
        given.append(epsilon)
        return logs(window, epsilon)

    monkeypatch.setattr(Window, "logs", noting)
    train(small_config(epsilon_decay=0.99, aggregate_every=10), [recorder])
    assert given == [window["epsilon"] for window in recorder.windows]
    assert given[0] == pytest.approx(0.99**10, abs=0.05) and given[-1] == pytest.approx(0.99**60, abs=0.05)


def test_windows_that_end_in_one_step_share_updates_and_speed(small_config: MakeConfig) -> None:
    # 30 lanes of one-step episodes end three windows of 10 at every step.
    recorder = Recorder()
    config = small_config(max_episode_steps=1, lanes=30, episodes=120, aggregate_every=10)
    run = train(dataclasses.replace(config, learn_start=30, learn_every=10), [recorder])
    assert [logs["episode"] for logs in recorder.windows] == list(range(10, 130, 10))
    assert all(np.isfinite(logs["loss"]) and logs["steps_per_second"] > 0 for logs in recorder.windows)
    assert run.agent.updates == 12


def test_a_run_stopped_by_a_callback_is_evaluated(small_config: MakeConfig) -> None:
    stopping = keras.callbacks.EarlyStopping(monitor="reward_avg", mode="max", min_delta=1000, patience=1)
    looking = RunCallback()
    run = train(small_config(evaluate_every=1000), [stopping, looking])
    assert looking.evaluation.is_up_to_date(run.episodes) and run.episodes > 20


def test_every_epoch_that_begins_ends(small_config: MakeConfig) -> None:
    calls = []

    class Count(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            calls.append(("begin", epoch))

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            calls.append(("end", epoch))

    run = train(small_config(), [Count()])
    assert calls == [(edge, epoch) for epoch in range(3) for edge in ("begin", "end")]
    assert float(run.agent.online.optimizer.learning_rate) > 0


def test_same_seed_same_run(small_config: MakeConfig, tmp_path: Path) -> None:
    runs, weights = [], []
    for name in ("a", "b"):
        config = small_config(network="auto", logs_dir=str(tmp_path / name), models_dir=str(tmp_path / name))
        run = train(config)
        runs.append({k: points for k, points in read_scalars(run.log_dir).items() if k not in TIMES})
        weights.append([*run.agent.online.get_weights(), *memory_of(run).get_steps().values()])
    assert runs[0] == runs[1]
    for left, right in zip(*weights, strict=True):
        np.testing.assert_array_equal(left, right)


def test_another_seed_another_run(small_config: MakeConfig) -> None:
    first, second = train(small_config(episodes=20)), train(small_config(episodes=20, seed=8))
    assert not np.array_equal(first.agent.online.get_weights()[0], second.agent.online.get_weights()[0])
    memories = [run.agent.memory for run in (first, second)]
    actions, others = (memory.get_steps()["actions"][:50] for memory in memories if memory)
    assert (actions != others).mean() > 0.5  # of nine actions


def test_a_seed_is_drawn_and_recorded(small_config: MakeConfig) -> None:
    run = train(small_config(episodes=20, seed=None))
    assert f"seed{run.config.seed}-" in run.name
    assert run.config.seed is not None and run.config.seed < 10_000  # short enough to say
    info = read_model(best_of(run).path).info
    assert info.config.seed == run.config.seed is not None


def test_a_run_keeps_its_best_and_its_last_model(small_config: MakeConfig) -> None:
    run = train(small_config())
    folder = Path(run.config.models_dir) / run.name
    assert run.last is not None and (best_of(run).path, run.last.path) == (folder / "best.model", folder / "last.model")
    assert set(folder.iterdir()) == {best_of(run).path, run.last.path}
    assert read_model(best_of(run).path).info.scores == best_of(run).scores


def test_two_runs_of_one_second_take_two_folders(small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda *_: "20260101-000000")
    first, second = train(small_config(episodes=20)), train(small_config(episodes=20))
    assert first.log_dir != second.log_dir
    assert best_of(first).path != best_of(second).path and best_of(first).path.exists()


def test_early_stopping_stops(small_config: MakeConfig) -> None:
    # No window can raise the reward by 1000, so a patience of one ends the run after the second. If more episodes ended
    # in that step, they are a third.
    stopping = keras.callbacks.EarlyStopping(monitor="reward_avg", mode="max", min_delta=1000, patience=1)
    recorder = Recorder()
    run = train(small_config(episodes=1000), [stopping, recorder])
    windows = len(recorder.windows)
    assert windows in (2, 3) and run.episodes < 100
    assert stopping.stopped_epoch == windows - 1
    assert run.last is not None and run.last.path.exists()


class PressCtrlC(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_saves_and_flushes(small_config: MakeConfig) -> None:
    before = signal.getsignal(signal.SIGINT)
    run = train(small_config(episodes=100_000), [PressCtrlC()])
    assert run.interrupted
    assert best_of(run).path.exists() and run.last and run.last.path.exists()
    assert [step for step, _ in read_scalars(run.log_dir)["reward/avg"]][:2] == [20, 40]
    assert signal.getsignal(signal.SIGINT) == before
    assert "(interrupted)" in summary(run)


def test_a_reward_that_is_not_finite_stops_the_run(small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    step = BlobVectorEnv.step

    def spoilt(self: BlobVectorEnv, actions: np.ndarray) -> tuple:
        observations, rewards, *rest = step(self, actions)
        return observations, rewards * np.nan, *rest

    monkeypatch.setattr(BlobVectorEnv, "step", spoilt)
    config = small_config()
    with pytest.raises(
        InputError, match=r"Blob-v0 gave a reward that is not a finite .* division .*; no model had been"
    ):
        train(config)
    assert not list(Path(config.models_dir).glob("*"))


def test_nan_loss_stops_and_keeps_the_good_model(small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Spoil(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if epoch == 0:
                self.model.set_weights([w * np.nan for w in self.model.get_weights()])

    config = small_config()
    with pytest.raises(InputError, match=r"the loss became nan .* lower --learning-rate 0.003 .* the best model"):
        train(config, [Spoil()])
    (kept,) = Path(config.models_dir).glob("*/*")
    saved = read_model(kept)
    model = load_network(saved, make_saved_env(saved))
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_the_stored_next_observation_is_the_final_one(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a real run's memory, the last image of every won or lost episode lacks a piece: the player stands on it."""
    run = train(small_config(env_args={"size": 3}))
    ends = [transition for transition in transitions(memory_of(run)) if transition.terminated]
    assert len(ends) >= 60
    for transition in ends:
        assert (transition.next_observation.any(axis=2)).sum() == 2
        assert (transition.observation.any(axis=2)).sum() == 3


def test_agent_learns_the_optimum_of_a_tiny_board(small_config: MakeConfig) -> None:
    """On 3x3 the greedy player wins from all 504 starts, nearly as fast as possible."""
    config = small_config(env_args={"size": 3}, episodes=2500, lanes=16, batch_size=128, epsilon_decay=0.997)
    config = dataclasses.replace(config, evaluate_every=500, evaluate_episodes=500, learn_every=4, target_every=50)
    config = dataclasses.replace(config, network="auto", max_episode_steps=None)
    run = train(dataclasses.replace(config, aggregate_every=50))
    verdict = judge_model(read_model(best_of(run).path))
    assert verdict.n_starts == verdict.won == 504
    assert verdict.mean >= 0.995 * verdict.optimum, verdict.table()


def test_percent_of_optimum_goes_to_tensorboard(small_config: MakeConfig) -> None:
    """It places the latest greedy evaluation between random play and optimal play from the same starts."""
    config = small_config()
    recorder = Recorder()
    run = train(config, [PercentOfOptimum(config), recorder])
    envs = BlobVectorEnv(config.evaluate_episodes, size=4)
    envs.reset(seed=EVALUATION_SEED)
    random, optimum = start_means(envs.rules, envs.positions)
    expected = [
        100 * (logs["greedy_avg"] - random) / (optimum - random) for logs in recorder.windows if "greedy_avg" in logs
    ]
    values = [value for _, value in read_scalars(run.log_dir)["run/percent_of_optimum"]]
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_training_knows_nothing_of_the_optimum(tmp_path: Path) -> None:
    """A run never imports the solver, not even to evaluate or to choose the best model."""
    code = (
        "import sys; from train import train; from config import Config; "
        f"run = train(Config(env_args={{'size': 3}}, network='dense', episodes=60, learn_start=50, "
        f"batch_size=16, evaluate_every=20, evaluate_episodes=20, models_dir={str(tmp_path / 'm')!r}, "
        f"logs_dir={str(tmp_path / 'l')!r})); "
        "assert run.best and run.agent.updates; "
        "print({name for name in sys.modules if name.partition('.')[0] == 'blob'})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(train_module.__file__).parent, capture_output=True, text=True
    )
    assert result.stdout.strip() == "set()", result.stderr


def test_cartpole_trains(small_config: MakeConfig) -> None:
    """The same agent, with a dense network to suit the space, does far better than the 22 steps of random play."""
    config = small_config(env="CartPole-v1", env_args={}, episodes=120, lanes=8, batch_size=64, discount=0.99)
    config = dataclasses.replace(config, max_episode_steps=None)
    config = dataclasses.replace(config, epsilon_decay=0.97, epsilon_min=0.02, learn_every=4, learn_start=500, seed=8)
    config = dataclasses.replace(config, n_step=3, double=True, learning_rate=1e-3, network="auto")
    run = train(dataclasses.replace(config, evaluate_every=60))
    assert best_of(run).scores["avg"] > 60


def test_train_from_a_thread(small_config: MakeConfig) -> None:
    """Only the main thread can handle signals; a run in another one does without."""
    runs: list[Any] = []
    thread = threading.Thread(target=lambda: runs.append(train(small_config(episodes=20))))
    thread.start()
    thread.join()
    assert runs and runs[0].episodes == 20


def test_agent_in_a_users_own_loop() -> None:
    """The README's loop: one environment, no `train.py`."""
    env = gym.make("Blob-v0", size=4)
    agent = DQNAgent(env.observation_space, env.action_space, Config(seed=1, lanes=1, learn_start=100, learn_every=10))
    observation, _ = env.reset(seed=1)
    for _ in range(200):
        action = agent.act(observation[None])[0]
        next_observation, reward, terminated, truncated, _ = env.step(action)
        agent.remember([observation], [action], Step([float(reward)], [terminated], [truncated], [next_observation]))
        agent.learn()
        observation = env.reset()[0] if terminated or truncated else next_observation
    # An update every 10 steps from 100 on: at 100, 110, ..., 200.
    assert agent.updates == 11


def test_train_module_has_no_command_line_side_effect() -> None:
    assert train_module.COMMAND is None


def test_the_replay_memory_is_freed_with_the_result(small_config: MakeConfig) -> None:
    """The judge's tables need its room. Keras gives each callback the agent, so `train.main` keeps none."""
    config = small_config(episodes=20)
    result = train(config, judges(config))
    memory = weakref.ref(memory_of(result))
    del result
    gc.collect()
    assert memory() is None
