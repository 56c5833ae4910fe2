"""The experiments' own arithmetic: what is timed and tabulated, and that an interrupted ablation goes on."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from agent import DQNAgent
from blob.solver import start_means
from blob_env import MOVE_NAMES, BlobRules
from config import Config
from console.errors import InputError
from experiments import ablation, best_model, compare, compare_plot, environments_table, mistakes, mutate, soak
from experiments.ablation import VARIANTS, read, train_all, train_once
from experiments.ablation_plot import draw, markdown_table
from experiments.best_model import Choice
from experiments.environments_table import COLUMNS, optimal_mean
from experiments.faults import Fault
from experiments.update_parts import alone, batch_of, products_of, update_graph

SMALL: dict[str, Any] = {
    "env_args": {"size": 3},
    "lanes": 4,
    "learn_start": 50,
    "batch_size": 16,
    "aggregate_every": 20,
    "evaluate_every": 20,
    "evaluate_episodes": 20,
}


@pytest.mark.parametrize("fault", mutate.FAULTS, ids=lambda fault: fault.name)
def test_every_fault_can_be_planted(fault: Fault) -> None:
    """The text it replaces is in its file, once, and the tests that should notice it exist."""
    assert mutate.faulty_text(fault)
    assert (mutate.ROOT / fault.tests.partition("::")[0]).exists()


def test_products_of_an_update_by_hand() -> None:
    # Three dense layers, 2 -> 256 -> 256 -> 3. Forward: both networks on the next observations, the online one on the
    # observations: 9 products. Backward: 3 for the weights, and 2 for the inputs of all layers but the first.
    agent = DQNAgent(
        gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(3), Config(seed=0, double=True, dueling=False)
    )
    n = 7
    ops = products_of(update_graph(agent, batch_of(tf.zeros((n, 2)), 3, tf.zeros(n))))
    assert [op.type for op in ops] == ["MatMul"] * 14
    shapes = sorted(tuple(tensor.shape) for tensor in alone(ops)())
    forward = [(n, 256), (n, 256), (n, 3)] * 3
    backward = [(2, 256), (256, 256), (256, 3), (n, 256), (n, 256)]
    assert shapes == sorted(forward + backward)


def test_convolutions_are_counted_too() -> None:
    # Two convolutions and two dense layers. Forward, without double DQN: two passes of 4. Backward: 4 for the weights,
    # and 3 for the inputs.
    config = Config(seed=0, network="tutorial", double=False, dueling=False)
    agent = DQNAgent(gym.spaces.Box(0, 255, (10, 10, 3), np.uint8), gym.spaces.Discrete(9), config)
    ops = products_of(update_graph(agent, batch_of(tf.zeros((2, 10, 10, 3), tf.uint8), 9, tf.zeros(2))))
    kinds = [op.type for op in ops]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "Conv2D": 4,
        "MatMul": 4 + 2 + 2,
        "Conv2DBackpropFilter": 2,
        "Conv2DBackpropInput": 1,
    }
    assert len(alone(ops)()) == 15


def test_train_once_gives_a_curve_and_a_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its model's file names code, as those of variants with a network of their own do.
    monkeypatch.setitem(VARIANTS, "default", {**SMALL, **VARIANTS["without the attention"]})
    curve, result = train_once("default", 3, 80, None)
    assert curve[0]["episode"] == 20 and curve[-1]["episode"] <= 80
    assert (result["variant"], result["seed"], result["episodes"], result["starts"]) == ("default", 3, 80, 504)
    assert result["won"] + result["lost"] + result["never_ending"] == 504
    assert 0 < curve[0]["seconds"] < curve[-1]["seconds"] <= result["seconds"]
    # Without any time it ends after its first window, with all episodes that ended in the same step of 4 lanes.
    _, stopped = train_once("default", 3, 5000, 0.0)
    assert 20 <= stopped["episodes"] < 20 + 4


class HerePool:
    """A process pool that does its work at once, in this process."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> "HerePool":
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        future: Future = Future()
        future.set_result(function(*arguments))
        return future


def test_an_ablation_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple] = []

    def pretend(variant: str, seed: int, episodes: int, seconds: float | None) -> tuple[list[dict], dict]:
        asked.append((variant, seed, seconds))
        if len(asked) == 3:
            raise KeyboardInterrupt
        curve = [dict(zip(ablation.CURVES, (variant, seed, e, e / 10, 90.0), strict=True)) for e in (50, 100)]
        values = (variant, seed, episodes, 9, 12.5, 20.0, 99.0, 503, 0, 1, 504)
        return curve, dict(zip(ablation.RESULTS, values, strict=True))

    monkeypatch.setattr(ablation, "train_once", pretend)
    monkeypatch.setattr(ablation, "ProcessPoolExecutor", HerePool)
    with pytest.raises(KeyboardInterrupt):
        train_all(["default", "tutorial preset"], 2, 100, tmp_path)
    train_all(["default", "tutorial preset"], 2, 100, tmp_path)
    # The tutorial preset gets as many seconds as the default took with the same seed.
    expected = [("default", 1, None), ("tutorial preset", 1, 12.5), ("default", 2, None)]
    assert asked == [*expected, ("default", 2, None), ("tutorial preset", 2, 12.5)]
    assert len(read(tmp_path / "ablation.csv")) == 4 and len(read(tmp_path / "ablation_curves.csv")) == 8
    draw(read(tmp_path / "ablation_curves.csv"), tmp_path)
    for name in ("seconds", "episodes"):
        assert (tmp_path / f"ablation_{name}.png").read_bytes().startswith(b"\x89PNG")


def test_an_ablation_of_the_tutorial_needs_the_default(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the default too"):
        train_all(["double", "tutorial preset"], 1, 100, tmp_path)
    assert not list(tmp_path.iterdir())


def test_table_by_hand() -> None:
    rows = [
        {"variant": "dueling", "seed": seed, "mean": mean, "percent_of_optimum": 99.0, "lost": seed, "never_ending": 0}
        for seed, mean in ((1, "20.0"), (2, "21.0"))
    ]
    lines = markdown_table([{**row, "seconds": "100"} for row in rows]).splitlines()
    assert lines[2].startswith("| uniform random | -202.11 | 0.00 |")
    assert lines[3] == "| dueling | 20.500 | 99.00 | 20.000 | 2 | 0 | 100 |"
    assert lines[4].startswith("| optimum | 21.318 | 100.00 |")


@pytest.mark.parametrize(
    ("env", "optimum"),
    [
        ("FrozenLake-v1", 1.0),  # the goal can be reached for certain
        ("CliffWalking-v1", -13.0),  # the optimal path of Sutton & Barto 2018, example 6.6
        ("CartPole-v1", ""),  # no table of transitions
    ],
)
def test_optimal_mean_of_toy_texts(env: str, optimum: float | str) -> None:
    assert optimal_mean(Config.from_preset(env=env)) == optimum


def test_optimal_mean_of_taxi_is_what_best_play_gets() -> None:
    # From each start, breadth-first search finds the fewest steps to a delivery: -1 each, and 20 for the last.
    env: Any = gym.make("Taxi-v4")
    table = env.unwrapped.P
    returns = []
    for episode in range(environments_table.EPISODES):
        reached = {env.reset(seed=environments_table.SCORE_SEED + episode)[0]}
        steps, delivered = 0, False
        while not delivered:
            steps += 1
            outcomes = [table[state][action][0] for state in reached for action in range(6)]
            delivered = any(reward == 20 for _, _, reward, _ in outcomes)
            reached = {after for _, after, _, _ in outcomes}
        returns.append(20 - (steps - 1))
    assert optimal_mean(Config.from_preset(env="Taxi-v4")) == pytest.approx(np.mean(returns))


def test_the_table_of_environments_goes_on_where_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def pretend(env: str, seed: int) -> dict[str, Any]:
        asked.append((env, seed))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return dict(zip(COLUMNS, (env, seed, 1000, 10.0 * (seed - 200), 1.5, 0.0, 1.0, 2.0, 3.0), strict=True))

    monkeypatch.setattr(environments_table, "train_once", pretend)
    monkeypatch.setattr(ablation, "ProcessPoolExecutor", HerePool)
    results = tmp_path / "environments.csv"
    with pytest.raises(KeyboardInterrupt):
        environments_table.train_all(["Taxi-v4"], 2, results)
    environments_table.train_all(["Taxi-v4"], 2, results)
    assert asked == [("Taxi-v4", 201), ("Taxi-v4", 202), ("Taxi-v4", 202)]
    (row,) = environments_table.markdown_table(read(results)).splitlines()[2:]
    assert row == "| Taxi-v4 | 1,000 | 1.50, 1.50 | 1.50 | the optimum (3.00) | 15 |"


def soaked(memory: float = 1.0, speed: float = 1.0, files: int = 0) -> list[soak.Reading]:
    """A run of 1,000 updates per window, with other memory, speed and open files in its second half."""
    readings, now = [], 0.0
    for window in range(1, 101):
        late = window > 50
        now += 10 / (speed if late else 1)
        resident = int(1e9 * (memory if late else 1))
        reference = 0.01 if late else 0.008
        readings.append(soak.Reading(1_000 * window, now, resident, reference, 20 + files * late, 8))
    return readings


def test_soak_by_hand() -> None:
    text, is_flat = soak.report(soaked())
    assert is_flat and "1,000 MB, at the end 1,000 (+0.00%)" in text and "100.0 updates/s" in text
    assert "the machine -20.0%, by a fixed computation" in text
    assert soak.report(soaked(memory=1.019))[1] and not soak.report(soaked(memory=1.021))[1]
    assert soak.report(soaked(speed=0.951))[1] and not soak.report(soaked(speed=0.949))[1]
    assert not soak.report(soaked(files=1))[1]


def test_a_short_soak() -> None:
    """Anything that grows with every window shows within seconds."""
    readings = soak.read_all(300, seed=1)
    assert readings[-1].updates >= 300
    half = len(readings) // 2
    assert readings[-1].files <= readings[half].files and readings[-1].threads <= readings[half].threads


def test_table_and_network_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each runs for a second in this process. A table that does not fit has a row too; finished runs are skipped."""
    monkeypatch.setattr(compare, "in_own_process", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(compare, "LEARNERS", ("cells", "offsets"))
    small = {
        "target_update": "soft",
        "target_rate": 1.0,
        "network": "dense",
        "evaluate_every": 50,
        "evaluate_episodes": 50,
    }
    monkeypatch.setattr(compare, "LINEAGE", {"no target network": small})
    monkeypatch.setattr(compare, "LINEAGE_SIZE", 5)
    monkeypatch.setitem(compare.STEPS_BETWEEN, 5, 50_000)
    compare.train_all([5], 1, tmp_path)
    rows = read(tmp_path / "compare.csv")
    assert [row["learner"] for row in rows] == ["cells", "offsets", "no target network"]
    assert [int(row["bytes"]) for row in rows[:2]] == [25**3 * 9 * 8, 9**4 * 9 * 8]
    assert float(rows[0]["percent_of_optimum"]) > 99 and 0 < float(rows[0]["seconds_to_99"]) < 60
    before = (tmp_path / "compare.csv").read_bytes()
    compare.train_all([5], 1, tmp_path)
    assert (tmp_path / "compare.csv").read_bytes() == before
    curve, refused = compare.train_once("cells", 50, 1)
    assert not curve and refused["bytes"] == 2_500**3 * 72 and refused["steps"] == ""
    ablation.append(tmp_path / "compare.csv", compare.RESULTS, [refused])
    rows = read(tmp_path / "compare.csv")
    compare_plot.draw(read(tmp_path / "compare_curves.csv"), rows, tmp_path)
    assert (tmp_path / "compare.png").stat().st_size > 10_000
    table = compare_plot.markdown_table(rows)
    assert "| table of cells | 50x50 | 1,125.0 GB | does not fit |" in table


def test_what_the_mistakes_cost() -> None:
    """On small boards, the random axis makes the game worth less, and a time limit learned from as an end misleads."""
    right, wrong = mistakes.random_axis(3)
    assert wrong < right - 0.1
    # 3x3 has 9 * 8 * 7 starts. The food is one step away, unless the enemy or a corner is in between.
    rules = BlobRules(size=3)
    assert right == pytest.approx(start_means(rules, rules.start_positions(np.arange(rules.n_starts)))[1], abs=1e-4)
    judged = mistakes.time_limit_as_end(2_000_000)
    assert judged["truncated"].optimal > 13_700 > 13_300 > judged["terminated"].optimal
    assert judged["truncated"].q_error_mean < 1 < 2 < judged["terminated"].q_error_mean
    assert mistakes.copies_of_target(5, 20) == [6, 12, 18]
    mean, placeholder, short = mistakes.averages(50)
    assert mean < -100 and placeholder < short and short == pytest.approx((2 * placeholder + 200) / 50)


def test_a_move_with_a_random_axis_by_hand() -> None:
    """3x3, food in the middle of the right side, enemy in the corner below it, the player in the middle. One step ahead
    right goes to the food, the enemy or the corner above it, a third each."""
    games = mistakes.RandomAxisGames(BlobRules(size=3), np.array([5]), np.array([8]))
    q_values = games.backup(np.zeros((9, 1), np.float32), 1.0)[4, :, 0]
    right, stay = MOVE_NAMES.index("right"), MOVE_NAMES.index("stay")
    assert q_values[right] == pytest.approx((25 - 300 - 1) / 3)
    assert q_values[stay] == pytest.approx((25 - 300 - 7) / 9)
    assert q_values[MOVE_NAMES.index("down right")] == -300


def test_a_choice_by_hand() -> None:
    # Means 1, 3 and 2. The best one returned 1 and 5: deviation 2, and so 2 / sqrt(2) = 1.414 for the mean of two. The
    # kept one is 3 - 2 = 1 below: 0.707 standard errors.
    choice = Choice(np.array([2.0, 2.0]), np.array([[0.0, 2.0], [1.0, 5.0], [2.0, 2.0]]))
    np.testing.assert_array_equal(choice.best, [1, 5])
    assert choice.errors_below == pytest.approx(1 / 2**0.5)
    assert choice.line() == (
        "kept 2.000, best of 3 3.000 +- 1.414, last 2.000, median 2.000: 0.71 standard errors below"
    )
    # Where every episode returns the same, no error can be divided by.
    assert Choice(np.ones(2), np.ones((1, 2))).errors_below == 0


def test_the_kept_model_is_one_of_those_met() -> None:
    settings = {**SMALL, "env": "examples.kuhn_poker:KuhnPoker", "env_args": {}, "seed": 1, "episodes": 60}
    choice = best_model.train_once(settings, episodes=8)
    # Evaluated after 20, 40 and 60 episodes.
    assert choice.met.shape == (3, 8)
    assert any(np.array_equal(choice.kept, returns) for returns in choice.met)
