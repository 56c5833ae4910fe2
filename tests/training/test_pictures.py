"""The pictures and histograms that a run adds to TensorBoard."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import pytest
from PIL import Image, ImageSequence
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

import training.pictures as pictures
from blob.callbacks import PolicyMap
from config import Config
from environments.make import make_env
from train import train
from training.callbacks import RunCallback
from training.evaluation import EVALUATION_SEED
from training.tensorboard_callback import EpisodeTensorBoard
from viewer.drawing import shrunk

MakeConfig = Callable[..., Config]


def events_of(log_dir: Path) -> EventAccumulator:
    events = EventAccumulator(str(log_dir), size_guidance={"tensors": 0})
    events.Reload()
    return events


def images_in(events: EventAccumulator, tag: str) -> dict[int, bytes]:
    """Return the images with a tag, by step."""
    return {point.step: point.tensor_proto.string_val[2] for point in events.Tensors(tag)}


def test_gifs_and_histograms(small_config: MakeConfig) -> None:
    config = small_config(episodes=100)  # five evaluations: GIFs with the first, second, fourth and last
    run = train(config, [PolicyMap(config)])
    events = events_of(run.log_dir)
    starts = images_in(events, "see/start")
    assert list(starts) == list(images_in(events, "see/worst")) == [20, 40, 80, 100]
    with Image.open(io.BytesIO(starts[80])) as gif:
        env = make_env(config, "rgb_array")
        env.reset(seed=EVALUATION_SEED)
        expected = np.asarray(shrunk(np.asarray(env.render())), int)
        assert np.abs(np.asarray(gif.convert("RGB")).astype(int) - expected).max() < 10  # of a palette of 256
    with Image.open(io.BytesIO(images_in(events, "see/worst")[20])) as gif:
        assert len(list(ImageSequence.Iterator(gif))) > 1
    assert list(images_in(events, "see/policy")) == [20, 40, 60, 80, 100]
    for tag, count in (("see/actions", 512), ("see/q_values", 512 * 9), ("see/td_errors", config.batch_size)):
        points = events.Tensors(tag)
        assert [point.step for point in points] == [20, 40, 60, 80, 100]
        buckets = np.frombuffer(points[-1].tensor_proto.tensor_content).reshape(-1, 3)  # from, to, count
        assert buckets[:, 2].sum() == count
    assert buckets[:, 0].min() >= 0 or tag == "see/td_errors"


def test_the_worst_start_is_the_evaluations_worst(small_config: MakeConfig) -> None:
    looking = RunCallback()
    run = train(small_config(), [looking])
    evaluation = looking.evaluation
    assert evaluation.count == 3
    assert EVALUATION_SEED <= evaluation.worst_seed < EVALUATION_SEED + 20
    env = make_env(run.config)
    lowest = evaluation.scores["min"]
    total = 0.0
    observation, _ = env.reset(seed=evaluation.worst_seed)
    ended = False
    while not ended:
        action = int(run.agent.q_values(observation[None])[0].argmax())
        observation, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + float(reward), terminated or truncated
    assert total == lowest


def test_looking_changes_nothing(small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config()
    seen = train(config)
    monkeypatch.setattr(pictures.Pictures, "on_epoch_end", lambda *_: None)
    unseen = train(config)
    for a, b in zip(seen.agent.online.weights, unseen.agent.online.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_long_episode_is_a_short_gif(monkeypatch: pytest.MonkeyPatch) -> None:
    # There are 201 boards: one before the first of 200 steps, and one after each. At step 60 there are too many frames:
    # every other one is dropped, and 31 are left. So again at step 120. Every fourth step up to 200 adds 20 more.
    frames: list[Image.Image] = []
    monkeypatch.setattr(pictures, "encode_gif", lambda shown, fps: frames.extend(shown))
    env = make_env(Config(env_args={"size": 4}), "rgb_array")
    pictures.film(env, lambda observations: np.eye(9)[8:], seed=1)  # it stands still
    assert len(frames) == 31 + 20


def test_environments_that_cannot_be_drawn(small_config: MakeConfig) -> None:
    run = train(small_config(env="examples.kuhn_poker:KuhnPoker", env_args={}))
    tags = events_of(run.log_dir).Tags()["tensors"]
    assert "see/actions" in tags and "see/start" not in tags


def test_the_layout_names_curves_that_are_there(small_config: MakeConfig) -> None:
    config = small_config()
    events = events_of(train(config).log_dir)
    (point,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(point.tensor_proto.string_val[0])
    (category,) = layout.category
    tags = {tag.strip("^$") for chart in category.chart for tag in chart.multiline.tag}
    assert tags - {"run/missing", "greedy/optimum"} <= set(events.Tags()["tensors"])
    assert {"reward/avg", "greedy/avg", "run/epsilon", "run/loss"} <= tags


class Camera(gym.Env):
    """Claims that it can be drawn, and fails."""

    observation_space = gym.spaces.Box(0, 9, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(1, np.float32), 1.0, bool(self.np_random.random() < 0.2), False, {}

    def render(self) -> Any:
        raise ZeroDivisionError("no light")


def test_a_drawing_that_fails_ends_nothing(small_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(small_config(env=f"{__name__}:Camera", env_args={}, max_episode_steps=30))
    assert run.episodes == 60
    said = capsys.readouterr().err
    assert said.count("no pictures: --env test_pictures:Camera fails in render: ZeroDivisionError: no light") == 1


def test_memory_does_not_grow_with_the_windows(tmp_path: Path) -> None:
    """TensorFlow caches every Python number that it is given, which would be some 24 MB in 1,500 windows."""
    tensorboard = EpisodeTensorBoard(tmp_path, Config())
    generator, resident = np.random.default_rng(0), []
    for window in range(1_800):
        numbers = dict(zip(map(str, range(20)), generator.normal(size=20).tolist(), strict=True))
        tensorboard.on_epoch_end(window, {"episode": 50 * window, **numbers})
        resident.append(psutil.Process().memory_info().rss)
    assert resident[-1] - resident[300] < 8e6
