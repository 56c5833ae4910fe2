"""`.model` files: what goes in comes out, in any Keras, and is read once; damaged files are refused in one line."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import optree
import pytest

import evaluate
from agent import DQNAgent
from blob.judge import judge_model
from config import Config
from console.errors import InputError
from environments.make import make_env
from storage.loading import load_network, load_q_values, make_saved_env
from storage.model_file import DIGEST_SIZE, ModelInfo, SavedModel, read_model, save_model, save_table, seal

ROOT = Path(__file__).parent.parent.parent
CONFIG = Config(env_args={"size": 4}, seed=3)


def load(path: Path) -> tuple[keras.Model, ModelInfo]:
    """Load a network as the scripts do: file, environment, network."""
    saved = read_model(path)
    with closing(make_saved_env(saved)) as env:
        return load_network(saved, env), saved.info


def boards(size: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, size, size, 3)).astype(np.uint8)


def test_q_values_and_settings_come_back(saved_model: tuple[Path, DQNAgent, ModelInfo]) -> None:
    path, agent, info = saved_model
    model, read = load(path)
    np.testing.assert_array_equal(model(boards()).numpy(), agent.online(boards()).numpy())
    assert read == info


def test_stock_keras_loads_it_renamed(saved_model: tuple[Path, DQNAgent, ModelInfo], tmp_path: Path) -> None:
    path, agent, _ = saved_model
    shutil.copy(path, tmp_path / "x.keras")
    model = keras.saving.load_model(tmp_path / "x.keras")
    np.testing.assert_array_equal(model(boards()).numpy(), agent.online(boards()).numpy())


class Spaces(gym.Env):
    """An environment of spaces alone."""

    action_space = gym.spaces.Discrete(3)

    def __init__(self, observation_space: gym.Space) -> None:
        self.observation_space = observation_space


RAINBOW = {"loss": "iqn", "noisy": True}


@pytest.mark.parametrize(
    ("space", "settings"),
    [
        (gym.spaces.Box(-1, 1, (4,), np.float32), {}),
        (gym.spaces.Box(-1, 1, (4,), np.float32), RAINBOW),
        (gym.spaces.Box(0, 255, (84, 84, 4), np.uint8), {}),
        (gym.spaces.Box(0, 255, (20, 18, 3), np.uint8), {}),  # a large board
        (gym.spaces.Box(0, 255, (20, 18, 3), np.uint8), RAINBOW),
        (gym.spaces.Discrete(16, start=3), {}),
        (gym.spaces.MultiDiscrete([19] * 4, start=[-9] * 4), {}),
        (gym.spaces.MultiDiscrete([16] * 3), {}),
        (gym.spaces.Dict(screen=gym.spaces.Box(0, 255, (84, 84), np.uint8), ammo=gym.spaces.Box(-9, 9, (2,))), {}),
    ],
    ids=str,
)
def test_every_network_comes_back(space: gym.Space, settings: dict[str, Any], tmp_path: Path) -> None:
    config = Config(seed=1, lanes=1, memory_size=100, learn_start=100, **settings)
    agent = DQNAgent(space, gym.spaces.Discrete(3), config)
    info = ModelInfo(agent.config, str(space), "Discrete(3)", 0, {}, {})
    save_model(tmp_path / "x.model", agent.online, info)
    model = load_network(read_model(tmp_path / "x.model"), Spaces(space))
    observations = optree.tree_map(lambda *arrays: np.stack(arrays), *[space.sample() for _ in range(8)])
    np.testing.assert_array_equal(model(observations).numpy(), agent.online(observations).numpy())


def test_one_file_and_no_leftovers(saved_model: tuple[Path, DQNAgent, ModelInfo]) -> None:
    path, *_ = saved_model
    assert [file.name for file in path.parent.iterdir()] == ["x.model"]


def test_a_failed_save_leaves_the_old_file(
    saved_model: tuple[Path, DQNAgent, ModelInfo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, agent, info = saved_model
    target = tmp_path / "x.model"
    shutil.copy(path, target)
    before = target.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(OSError, match="No space"):
        save_model(target, agent.online, info)
    assert target.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.model"]


def rewrite(path: Path, to: Path, **changes: object) -> Path:
    """Copy a .model file with changes to its agent.json, as someone who knows the format would."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(to, "w") as target:
        for member in source.namelist():
            data = source.read(member)
            if member == "agent.json":
                data = json.dumps({**json.loads(data), **changes}).encode()
            target.writestr(member, data)
        target.comment = bytes(DIGEST_SIZE)
    seal(to)
    return to


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated(saved_model: tuple[Path, DQNAgent, ModelInfo], tmp_path: Path, share: float) -> None:
    data = saved_model[0].read_bytes()
    path = tmp_path / "x.model"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"x\.model is not a whole .model file"):
        load(path)


def test_missing_and_foreign_files(saved_model: tuple[Path, DQNAgent, ModelInfo], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no model file"):
        load(tmp_path / "nothing.model")
    with pytest.raises(InputError, match="there is no model file"):
        load(tmp_path)
    text = tmp_path / "text.model"
    text.write_text("hello")
    with pytest.raises(InputError, match=r"not a whole \.model file"):
        load(text)
    plain = tmp_path / "plain.keras"
    saved_model[1].online.save(plain)
    with pytest.raises(InputError, match=r"agent\.json"):
        load(plain.rename(tmp_path / "plain.model"))


def test_flipped_bits(saved_model: tuple[Path, DQNAgent, ModelInfo], tmp_path: Path) -> None:
    data = bytearray(saved_model[0].read_bytes())
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "x.model"
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        load(path)


def test_a_member_that_does_not_unpack(saved_model: tuple[Path, DQNAgent, ModelInfo], tmp_path: Path) -> None:
    # The central directory says that the member is compressed (method 8 at offset 10), which it is not.
    data = bytearray(saved_model[0].read_bytes())
    data[data.rindex(b"PK\1\2") + 10] = 8
    path = tmp_path / "x.model"
    path.write_bytes(data)
    with pytest.raises(InputError, match="its members are packed"):
        load(path)


def test_made_for_other_spaces(saved_model: tuple[Path, DQNAgent, ModelInfo], tmp_path: Path) -> None:
    bigger = dataclasses.asdict(dataclasses.replace(CONFIG, env_args={"size": 5}))
    path = rewrite(saved_model[0], tmp_path / "x.model", config=bigger)
    with pytest.raises(InputError, match=r"was made for observations Box.*4, 4, 3.*now has Box.*5, 5, 3"):
        load(path)
    # Claiming the other space as well does not help: the network itself has the wrong shape.
    space = str(make_env(Config(env_args={"size": 5})).observation_space)
    path = rewrite(path, tmp_path / "y.model", observation_space=space)
    with pytest.raises(InputError, match=r"y\.model holds no weights for the network that the settings make"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"episodes": -1}}, "--episodes must be at least 1"),
        ({"config": {"colour": "red"}}, "colour"),
        ({"config": 7}, "was not made by this version"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_settings_that_do_not_fit(
    saved_model: tuple[Path, DQNAgent, ModelInfo], tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(rewrite(saved_model[0], tmp_path / "x.model", **changes))


def test_an_environment_that_is_gone(saved_model: tuple[Path, DQNAgent, ModelInfo], tmp_path: Path) -> None:
    config = dataclasses.asdict(dataclasses.replace(CONFIG, env="Gone-v0", env_args={}))
    with pytest.raises(InputError, match="there is no environment 'Gone-v0'"):
        load(rewrite(saved_model[0], tmp_path / "x.model", config=config))


@contextmanager
def opens_of(path: Path) -> Iterator[list[str]]:
    """Collect every opening of a file."""
    opens: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | Path) and os.fspath(arguments[0]) == str(path):
            opens.append(event)

    sys.addaudithook(hook)  # it cannot be removed, and the list is all that it leaves
    yield opens


def save_untrained_table(path: Path) -> Path:
    config = Config.from_preset(method="q-learning", env_args={"size": 3}, seed=1)
    with closing(make_env(config)) as env:
        info = ModelInfo(config, str(env.observation_space), str(env.action_space), 1, {}, {})
    save_table(path, np.random.default_rng(1).normal(size=(9**3, 9)), info)
    return path


@pytest.mark.parametrize("kind", ["network", "table"])
@pytest.mark.parametrize("script", ["play", "evaluate", "evaluate --exact"])
def test_a_file_is_opened_once(
    saved_model: tuple[Path, DQNAgent, ModelInfo],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    kind: str,
) -> None:
    path = save_untrained_table(tmp_path / "x.npz") if kind == "table" else saved_model[0]
    with opens_of(path) as opens:
        if script == "play":  # its window apart
            saved = read_model(path)
            with closing(make_saved_env(saved, "rgb_array")) as env:
                q_values = load_q_values(saved, env)
                assert q_values(env.reset(seed=1)[0][None]).shape == (1, 9)
        else:
            options = ["--exact"] if "--exact" in script else ["--episodes", "5"]
            monkeypatch.setattr(sys, "argv", ["evaluate.py", str(path), *options])
            evaluate.main()
            assert ("starts" if "--exact" in script else "5 greedy episodes") in capsys.readouterr().out
    assert opens == ["open"]


def test_a_file_may_change_after_it_was_read(saved_model: tuple[Path, DQNAgent, ModelInfo], tmp_path: Path) -> None:
    path, agent, _ = saved_model
    copy = Path(shutil.copy(path, tmp_path / "x.model"))
    saved = read_model(copy)
    copy.unlink()
    with closing(make_saved_env(saved)) as env:
        np.testing.assert_array_equal(load_network(saved, env)(boards()).numpy(), agent.online(boards()).numpy())
    assert judge_model(saved).n_starts == 3_360


def test_a_table_is_not_copied(tmp_path: Path) -> None:
    saved = read_model(save_untrained_table(tmp_path / "x.npz"))
    (table,) = saved.arrays
    np.testing.assert_array_equal(table, np.random.default_rng(1).normal(size=(9**3, 9)))
    assert not table.flags.owndata and not table.flags.writeable


class Closable(gym.Env):
    """Notes whether it was closed."""

    observation_space, action_space = gym.spaces.Discrete(3), gym.spaces.Discrete(2)
    open = 0

    def __init__(self) -> None:
        Closable.open += 1

    def close(self) -> None:
        Closable.open -= 1


def test_an_environment_that_does_not_fit_is_closed() -> None:
    info = ModelInfo(Config.from_preset(env=f"{__name__}:Closable"), "Discrete(4)", "Discrete(2)", 0, {}, {})
    with pytest.raises(InputError, match=r"was made for observations Discrete\(4\)"):
        make_saved_env(SavedModel(Path("x.model"), info, ()))
    assert Closable.open == 0
    info = dataclasses.replace(info, observation_space="Discrete(3)")
    with pytest.raises(InputError, match="holds no weights for the network"):
        evaluate.play(SavedModel(Path("x.model"), info, ()), 5, 1)
    assert Closable.open == 0


@pytest.mark.parametrize("module", ["storage.model_file", "storage.loading", "storage.run_folder", "evaluate"])
def test_tensorflow_is_not_imported_to_read_files(module: str) -> None:
    """It takes seconds, and mistakes should show before that."""
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
