"""What is exported is what was scored: other programs compute the agent's own Q-values, and pick its actions."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import optree
import pytest
import tensorflow as tf
from conftest import save_untrained
from gymnasium.spaces import Box, Dict, Discrete
from scripts import ROOT, assert_refused, run

from config import Config
from console.errors import InputError
from environments.make import make_env
from environments.spaces import example_observation
from storage.exported import ENDINGS, check_export, export, exportable_network
from storage.loading import load_q_values, make_saved_env
from storage.model_file import SHIPPED_MODEL, ModelInfo, SavedModel, read_model, save_table
from storage.versions import versions

CLOSE = 1e-4  # actions must agree wherever two Q-values differ by more
Values = Callable[[Any], np.ndarray]


class Mixed(gym.Env):
    """Observations of three kinds."""

    observation_space = Dict(board=Box(0, 3, (5, 5, 2), np.uint8), place=Box(-1, 1, (3,), np.float32), kind=Discrete(4))
    action_space = Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        return self.observation_space.sample(), 0.0, False, False, {}


class Screen(gym.Env):
    """Screens as Atari's."""

    observation_space, action_space = Box(0, 255, (84, 84), np.uint8), Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return self.np_random.integers(0, 256, (84, 84), np.uint8), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        return self.np_random.integers(0, 256, (84, 84), np.uint8), 0.0, False, False, {}


gym.register("MixedToExport-v0", f"{__name__}:Mixed")
gym.register("ScreenToExport-v0", f"{__name__}:Screen")
GAMES: dict[str, tuple[dict[str, Any], int]] = {  # settings, and how many observations are compared
    "board": ({"env_args": {"size": 6}}, 1000),
    "turned cells": ({"env_args": {"size": 4, "observation": "cells"}, "loss": "c51", "noisy": True}, 1000),
    "vector": ({"env": "CartPole-v1", "preset": "generic", "loss": "iqn", "noisy": True}, 1000),
    "dict": ({"env": "MixedToExport-v0", "preset": "generic", "dueling": True}, 1000),
    "screen": ({"env": "ScreenToExport-v0", "preset": "generic", "frame_stack": 4, "memory_size": 2000}, 20),
}
CASES = [*(("board", to) for to in ENDINGS), ("turned cells", "keras")]
CASES += [(game, to) for game in ("dict", "vector", "screen") for to in ("onnx", "litert")]


def saved_agent(game: str, folder: Path) -> SavedModel:
    config = Config(**{"seed": 1, **GAMES[game][0]})
    agent, info = save_untrained(folder / "x.model", config)
    # An untrained network's values are near 0: make them as large and as different as a trained one's.
    for weight in agent.online.weights:
        if weight.path.startswith(("q_values", "value", "advantages")):
            weight.assign(np.random.default_rng(2).normal(size=weight.shape) * 0.3)
    from storage.model_file import save_model

    save_model(folder / "x.model", agent.online, info)
    return read_model(folder / "x.model", {"env": config.env})


def observations_of(config: Config, count: int) -> Any:
    """Observations of random play, in a batch of the dtypes that the network takes."""
    with make_env(config) as env:
        env.action_space.seed(1)
        seen = [env.reset(seed=1)[0]]
        while len(seen) < count:
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            seen.append(env.reset()[0] if terminated or truncated else observation)
        example = example_observation(env.observation_space)
    return optree.tree_map(lambda like, *arrays: np.stack(arrays).astype(like.dtype), example, *seen)


def values_of(to: str, path: Path) -> Values:
    """Load an exported agent as other programs do: without anything of this project."""
    if to == "keras":
        model = keras.models.load_model(path)
        return lambda batch: np.asarray(model(batch))
    if to == "saved_model":
        served = tf.saved_model.load(str(path))
        return lambda batch: served.serve(batch).numpy()
    if to == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        names = [array.name for array in session.get_inputs()]
        return lambda batch: session.run(None, {name: of(batch, name) for name in names})[0]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner()
    inputs = interpreter.get_signature_list()["serving_default"]["inputs"]
    return lambda batch: next(iter(runner(**{name: of(batch, name) for name in inputs}).values()))


def of(batch: Any, name: str) -> np.ndarray:
    """The array of an input of this name; other formats may prefix or number the names of a dict's inputs."""
    if not isinstance(batch, dict):
        return batch
    (key,) = [key for key in batch if key in name]
    return batch[key]


@pytest.mark.parametrize(("game", "to"), CASES, ids=lambda value: value)
def test_other_programs_act_alike(game: str, to: str, tmp_path: Path) -> None:
    saved = saved_agent(game, tmp_path)
    observations = observations_of(saved.info.config, GAMES[game][1])
    with make_saved_env(saved) as env:
        expected = load_q_values(saved, env)(observations)
    assert expected.std() > 0.1
    out = tmp_path / f"agent{ENDINGS[to]}"
    export(exportable_network(saved), to, out)
    found = values_of(to, out)(observations)
    assert found.shape == expected.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=CLOSE / 2, rtol=1e-5)
    second, first = np.sort(expected, axis=1)[:, -2:].T
    clear = first - second > CLOSE
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found.argmax(axis=1)[clear], expected.argmax(axis=1)[clear])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, "x.model"])  # nothing half written


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(env_args={"size": 4}, network="dense", seed=1)
    save_untrained(tmp_path / "x.model", config)
    saved = read_model(tmp_path / "x.model")
    with pytest.raises(InputError, match=r"--out a\.txt must end in \.onnx"):
        check_export(saved, "onnx", Path("a.txt"))
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="taken exists already"):
        check_export(saved, "saved_model", tmp_path / "taken")
    monkeypatch.setattr("storage.exported.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"--to onnx needs tf2onnx: pip install -r requirements-extra\.txt"):
        check_export(saved, "onnx", Path("a.onnx"))
    table = Config(env_args={"size": 2, "observation": "cells"}, method="q-learning", seed=1)
    save_table(tmp_path / "x.npz", np.zeros((64, 9)), ModelInfo(table, "", "", 1, {}, versions()))
    with pytest.raises(InputError, match=r"x\.npz is a table, which needs no export: numpy\.load\(.*\)\['table'\]"):
        check_export(read_model(tmp_path / "x.npz"), "keras", tmp_path / "x.keras")


def test_the_command_line(tmp_path: Path) -> None:
    save_untrained(tmp_path / "small.model", Config(env_args={"size": 4}, network="dense", seed=1))
    model = str(tmp_path / "small.model")
    done = run("export.py", model, "--to", "keras", "--out", str(tmp_path / "a" / "small.keras"))
    assert done.stdout.splitlines() == [
        f"wrote {tmp_path / 'a' / 'small.keras'}",
        "input   observation: uint8 (None, 4, 4, 3)",
        "output  float32 (None, 9): a Q-value for each action; the highest is the best",
    ]
    assert_refused(run("export.py", model), "the following arguments are required: --to")
    assert_refused(run("export.py", model, "--to", "pmml"), "invalid choice: 'pmml'")
    assert_refused(run("export.py", model, "--to", "onnx", "--out", "x.keras"), "--out x.keras must end in .onnx")
    assert_refused(run("export.py", "nothing", "--to", "onnx"), "there is no model file nothing")


def test_the_examples_of_the_docs_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the model that comes with the project, each wins from its first start."""
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    monkeypatch.chdir(tmp_path)
    network = exportable_network(read_model(SHIPPED_MODEL))
    for to, example in zip(("onnx", "litert"), examples, strict=True):
        export(network, to, tmp_path / f"blob{ENDINGS[to]}")
        names: dict[str, Any] = {}
        exec(compile(example, "docs/export.md", "exec"), names)
        assert names["terminated"] and names["info"] == {"is_success": True}
