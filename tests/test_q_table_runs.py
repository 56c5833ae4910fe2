"""Runs with a table reach known optima and go on where they were, and damaged files of tables are refused."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete
from test_q_table import RULES, make_agent, step

from blob.judge import judge_model
from config import Config
from console.errors import InputError
from environments.known import symmetries_of
from environments.make import make_env
from environments.table_rows import rows_of
from experiments.environments_table import optimal_mean
from q_table import QTableAgent
from reports.curves import read_points
from storage.loading import load_q_values, make_saved_env
from storage.model_file import ModelInfo, read_model, save_table, seal
from train import train


def points_without_times(folder: Path) -> list[tuple[str, int, float]]:
    """List the points of a run's curves, but for those of its speed."""
    return [point for point in read_points(folder) if "second" not in point[0]]


def test_a_finished_run_whose_last_model_was_not_written_is_finished(tmp_path: Path) -> None:
    folders = {"models_dir": str(tmp_path / "models"), "logs_dir": str(tmp_path / "logs")}
    config = Config.from_preset(method="q-learning", env="FrozenLake-v1", steps=1_000, seed=3, **folders)
    result = train(config)
    assert result.last
    path, points = result.last.path, points_without_times(result.log_dir)
    latest = path.read_bytes()
    path.unlink()
    train(config, resume=result.log_dir)
    assert points_without_times(result.log_dir) == points
    with np.load(path) as resumed, np.load(BytesIO(latest)) as before:
        np.testing.assert_array_equal(resumed["table"], before["table"])


@pytest.mark.parametrize("observation", ["cells", "offsets"])
def test_reaches_the_optimum_of_a_small_blob(tmp_path: Path, observation: str) -> None:
    """All 3,360 starts of 4x4. Q-learning is off-policy: it learns them by random play."""
    config = Config.from_preset(
        method="q-learning", env_args={"size": 4, "observation": observation}, steps=300_000, lanes=64, seed=1,
        learning_rate_schedule="constant" if observation == "cells" else "linear",
        evaluate_every=300_000, evaluate_episodes=100, aggregate_every=1_000, epsilon_min=1.0,
        models_dir=str(tmp_path / "models"), logs_dir=str(tmp_path / "logs"),
    )  # fmt: skip
    best = train(config).best
    assert best and best.path.suffix == ".npz"
    verdict = judge_model(read_model(best.path))
    assert (verdict.exact, verdict.n_starts) == (True, 3_360)
    if observation == "cells":
        assert verdict.optimal == 3_360 and verdict.q_error_max < 1e-4
    else:  # walls are hidden
        assert verdict.percent_of_optimum > 99 and verdict.optimal < 3_360


@pytest.mark.parametrize("method", RULES)
def test_finds_the_way_over_the_lake(tmp_path: Path, method: str) -> None:
    """The lake is not slippery here."""
    config = Config.from_preset(
        env="FrozenLake-v1", env_args={"is_slippery": False}, method=method, seed=1, steps=20_000, epsilon_steps=15_000,
        models_dir=str(tmp_path / "models"), logs_dir=str(tmp_path / "logs"),
    )  # fmt: skip
    best = train(config).best
    assert best and best.scores["avg"] == 1


@pytest.mark.parametrize("method", ["q-learning", "sarsa", "expected-sarsa"])
def test_the_cliff(tmp_path: Path, method: str) -> None:
    """Sutton & Barto 2018, example 6.6: Q-learning walks along the edge, in 13 steps.

    On-policy rules, with an epsilon of 0.1, keep away from it: 17 steps along the top, or 15 one row below.
    """
    config = Config.from_preset(
        env="CliffWalking-v1", method=method, seed=1, steps=40_000, epsilon_steps=1, epsilon_min=0.1,
        max_episode_steps=200, evaluate_every=40_000, evaluate_episodes=8,
        models_dir=str(tmp_path / "models"), logs_dir=str(tmp_path / "logs"),
    )  # fmt: skip
    best = train(config).best
    assert optimal_mean(config) == -13
    assert best and best.scores["avg"] in ([-13] if method == "q-learning" else [-15, -17])


@pytest.mark.parametrize("method", RULES)
def test_goes_on_where_it_was(method: str) -> None:
    """An agent that gets another's state goes on as the other does."""

    def play(agent: QTableAgent, steps: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(steps):
            actions = agent.act(generator.integers(0, 4, 1), epsilon=0.5)
            step(agent, int(generator.integers(4)), int(actions[0]), float(generator.normal()), 2)

    one, other = (make_agent(method, epsilon_min=0.5) for _ in range(2))
    play(one, 20, seed=1)
    other.set_state(one.get_state(), [])
    assert np.abs(one.table).sum() > 0
    for agent in (one, other):
        play(agent, 20, seed=2)
    np.testing.assert_array_equal(one.table, other.table)
    with pytest.raises(ValueError, match="table"):
        make_agent(method, states=5).set_state(one.get_state(), [])


def save_untrained(path: Path) -> tuple[Config, np.ndarray]:
    """Write a file with a random table. Returns its settings and the table."""
    config = Config.from_preset(method="q-learning", env_args={"size": 3}, seed=1)
    env = make_env(config)
    table = np.random.default_rng(1).normal(size=(9**3, 9))
    info = ModelInfo(config, str(env.observation_space), str(env.action_space), 1, {}, {})
    save_table(path, table, info)
    return config, table


def load(path: Path) -> np.ndarray:
    """Read the Q-values of all 729 states from a file."""
    saved = read_model(path)
    q_values = load_q_values(saved, make_saved_env(saved))
    return q_values(np.stack(np.unravel_index(np.arange(9**3), (9, 9, 9)), axis=1))


def test_a_loaded_table_is_averaged_over_all_views(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    config, table = save_untrained(path)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["table"], table)
    symmetries = symmetries_of(make_env(config))
    rows = np.stack(np.unravel_index(np.arange(9**3), (9, 9, 9)), axis=1)
    seen = [table[rows_of(view.observations(rows), MultiDiscrete([9] * 3))][:, view.actions] for view in symmetries]
    np.testing.assert_allclose(load(path), np.mean(seen, axis=0))


def damage(path: Path, old: bytes, new: bytes) -> None:
    """Change a file, and make its digest fit again."""
    content = path.read_bytes()
    assert old in content and len(old) == len(new)
    path.write_bytes(content.replace(old, new, 1))
    seal(path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    save_untrained(path)
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError):
            load(path)
    # A header that promises more than there is, is refused before memory is allocated, or by the archive's checksum.
    for old, new in ((b"(729, 9)", b"(7e9, 9)"), (b"'<f8'", b"'|O8'"), (b"table.npy", b"table.exe")):
        path.write_bytes(whole)
        damage(path, old, new)
        with pytest.raises(InputError):
            load(path)
    # A table for another board.
    path.write_bytes(whole)
    info = read_model(path).info
    for table in (np.zeros((10, 9)), np.zeros((729, 9), np.float32), np.zeros((729, 9), order="F")[:, ::-1].T):
        save_table(path, table, info)
        with pytest.raises(InputError, match="holds no table for this environment"):
            load(path)


def test_settings_of_networks_are_refused() -> None:
    with pytest.raises(InputError, match="--init-from gives a network its weights, --method sarsa has none"):
        Config(method="sarsa", init_from="x.model")
