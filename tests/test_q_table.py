"""The tabular rules: against numbers worked out by hand, against a naive twin, and against known optima."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from hypothesis import given, settings
from hypothesis import strategies as st

from blob.judge import judge_model
from blob.solver import TOLERANCE, Games
from blob_env import BlobEnv, BlobRules
from config import METHODS, Config
from console.errors import InputError
from environments.check import check_env
from environments.known import symmetries_of
from environments.make import make_env
from environments.table_rows import rows_of, table_shape
from experiments.environments_table import optimal_mean
from q_table import QTableAgent, trace_length
from reports.curves import read_points
from storage.loading import load_q_values, make_saved_env
from storage.model_file import ModelInfo, read_model, save_table, seal
from train import train

MakeConfig = Callable[..., Config]
RULES = METHODS[1:]


def make_agent(method: str, states: int = 4, actions: int = 2, **options: Any) -> QTableAgent:
    """One lane, alpha 0.5, discount 0.9, lambda 0.5; greedy unless told otherwise."""
    defaults: dict[str, Any] = {
        "lanes": 1, "learning_rate": 0.5, "discount": 0.9, "trace_decay": 0.5, "reward_clip": 0.0, "seed": 1,
        "epsilon_schedule": "episodes", "epsilon_decay": 0.0001, "epsilon_min": 0.0,
    }  # fmt: skip
    agent = QTableAgent(Discrete(states), Discrete(actions), Config(method=method, **{**defaults, **options}))
    agent.episodes = 0 if "epsilon_min" in options else 10**6  # epsilon: 1, or nothing
    return agent


def step(
    agent: QTableAgent,
    state: int,
    action: int,
    reward: float,
    next_state: int,
    terminated: bool = False,
    truncated: bool = False,
    masks: Any = True,
) -> None:
    agent.remember([state], [action], [reward], [terminated], [truncated], np.array([next_state]), masks)
    agent.learn()


def assert_table(agent: QTableAgent, expected: Any) -> None:
    np.testing.assert_allclose(agent.table, expected)


def test_q_learning_by_hand() -> None:
    """Sutton & Barto 2018, eq. 6.8; Watkins & Dayan 1992, eq. 1: (1 - 0.5) * 2 + 0.5 * (1 + 0.9 * 10) = 6."""
    agent = make_agent("q-learning")
    agent.table[:] = [[0, 2], [10, 4], [0, 0], [0, 0]]
    step(agent, 0, 1, 1.0, 1)
    assert_table(agent, [[0, 6], [10, 4], [0, 0], [0, 0]])
    np.testing.assert_allclose(agent.td_errors, [8])  # 1 + 0.9 * 10 - 2
    # Terminated: (1 - 0.5) * 6 + 0.5 * 1 = 3.5, whatever the next state's values are.
    step(agent, 0, 1, 1.0, 1, terminated=True)
    assert agent.table[0, 1] == pytest.approx(3.5)
    # Truncated: the next state is still worth something: 0.5 * 3.5 + 0.5 * (1 + 9) = 6.75.
    step(agent, 0, 1, 1.0, 1, truncated=True)
    assert agent.table[0, 1] == pytest.approx(6.75)
    # Only the second action is legal in the next state: 0.5 * 6.75 + 0.5 * (1 + 0.9 * 4) = 5.675.
    step(agent, 0, 1, 1.0, 1, masks=[[False, True]])
    assert agent.table[0, 1] == pytest.approx(5.675)
    assert (agent.steps, agent.updates, agent.episodes) == (4, 4, 10**6 + 2)


def test_sarsa_by_hand() -> None:
    """Sutton & Barto 2018, eq. 6.7 (Rummery & Niranjan 1994): of the next action, here random, not of the best:
    0.5 * 2 + 0.5 * (1 + 0.9 * 10) = 6 if it is the first, 0.5 * 2 + 0.5 * (1 + 0.9 * 4) = 3.3 if it is the second."""
    agent = make_agent("sarsa", epsilon_min=1.0)
    seen = set()
    for _ in range(20):
        agent.table[:] = [[0, 2], [10, 4], [0, 0], [0, 0]]
        step(agent, 0, 1, 1.0, 1)
        (action,) = agent.act(np.array([1]), 1.0)
        assert agent.table[0, 1] == pytest.approx(6 if action == 0 else 3.3)
        assert agent.act(np.array([1]), 1.0) == [action]  # it is kept to
        seen.add(int(action))
    assert seen == {0, 1}
    # After the episode's end nothing has been chosen yet: 0.5 * 2 + 0.5 * 1 = 1.5.
    agent.table[:] = [[0, 2], [10, 4], [0, 0], [0, 0]]
    step(agent, 0, 1, 1.0, 1, terminated=True)
    assert agent.table[0, 1] == pytest.approx(1.5)
    assert {int(agent.act(np.array([1]), 1.0)[0]) for _ in range(20)} == {0, 1}


def test_expected_sarsa_by_hand() -> None:
    """Sutton & Barto 2018, eq. 6.9, with epsilon 0.2: of three actions worth 10, 4 and 1 each has a chance of 0.2 / 3,
    and the first 0.8 more: 0.2 * 5 + 0.8 * 10 = 9. 0.5 * 2 + 0.5 * (1 + 0.9 * 9) = 5.55."""
    agent = make_agent("expected-sarsa", actions=3, epsilon_schedule="steps", epsilon_steps=1, epsilon_min=0.2)
    agent.table[:2] = [[0, 2, 0], [10, 4, 1]]
    step(agent, 0, 1, 1.0, 1)
    assert agent.epsilon == 0.2
    assert agent.table[0, 1] == pytest.approx(5.55)
    # The first is illegal: 0.2 * 2.5 + 0.8 * 4 = 3.7. 0.5 * 5.55 + 0.5 * (1 + 0.9 * 3.7) = 4.94.
    step(agent, 0, 1, 1.0, 1, masks=[[False, True, True]])
    assert agent.table[0, 1] == pytest.approx(4.94)


def test_sarsa_lambda_by_hand() -> None:
    """Sutton & Barto 2018, eq. 12.6 and 12.7 for pairs (section 12.7), with replacing traces (eq. 12.12); all greedy,
    from zeros."""
    agent = make_agent("sarsa-lambda")
    step(agent, 0, 0, 2.0, 1)  # error 2: Q(0,0) = 0.5 * 2 = 1
    assert_table(agent, [[1, 0], [0, 0], [0, 0], [0, 0]])
    # Error 4: Q(1,0) = 0.5 * 4 = 2, and Q(0,0), eligible by 0.9 * 0.5 = 0.45, gets 0.5 * 4 * 0.45 = 0.9 more.
    step(agent, 1, 0, 4.0, 2)
    assert_table(agent, [[1.9, 0], [2, 0], [0, 0], [0, 0]])
    # Back in (0,0), whose next action is worth 2: error -1 + 0.9 * 2 - 1.9 = -1.1. Its trace is 1, not 1 + 0.45^2, and
    # so Q(0,0) = 1.9 - 0.55 = 1.35, and Q(1,0) = 2 - 0.55 * 0.45 = 1.7525.
    step(agent, 0, 0, -1.0, 1)
    assert_table(agent, [[1.35, 0], [1.7525, 0], [0, 0], [0, 0]])
    # The end: error 10 - 0 in (3,1). Q(3,1) = 5; (0,0) was one step ago: + 5 * 0.45; (1,0) two: + 5 * 0.45^2 = 1.0125.
    step(agent, 3, 1, 10.0, 0, terminated=True)
    assert_table(agent, [[3.6, 0], [2.765, 0], [0, 0], [0, 5]])
    # A new episode leaves them alone.
    step(agent, 2, 0, 1.0, 2, terminated=True)
    assert_table(agent, [[3.6, 0], [2.765, 0], [0.5, 0], [0, 5]])


def test_q_lambda_by_hand() -> None:
    """Watkins's Q(lambda), Sutton & Barto 2018, section 12.10: the maximum, and no traces over an action not greedy."""
    agent = make_agent("q-lambda")
    agent.table[2] = [6, 8]
    step(agent, 0, 0, 2.0, 1)  # Q(0,0) = 1
    # Greedy (a tie): error 4 + 0.9 * 8 = 11.2, Q(1,1) = 5.6, Q(0,0) = 1 + 5.6 * 0.45 = 3.52.
    step(agent, 1, 1, 4.0, 2)
    assert_table(agent, [[3.52, 0], [0, 5.6], [6, 8], [0, 0]])
    # Not greedy: error 1 - 6 = -5 for Q(2,0) alone.
    step(agent, 2, 0, 1.0, 3)
    assert_table(agent, [[3.52, 0], [0, 5.6], [3.5, 8], [0, 0]])
    # Greedy again: error 2. Q(3,0) = 1, and Q(2,0) = 3.5 + 0.45; what was before it stays.
    step(agent, 3, 0, 2.0, 3, truncated=True)
    assert_table(agent, [[3.52, 0], [0, 5.6], [3.95, 8], [1, 0]])


def test_q_lambda_is_greedy_among_legal_actions() -> None:
    """In state 1 action 0 is worth more, 0, but not legal: action 1 is greedy there, and the trace goes on."""
    agent = make_agent("q-lambda")
    agent.table[1] = [0, -1]
    legal = np.array([[False, True]])
    step(agent, 0, 0, 2.0, 1, masks=legal)  # error 2 - 0.9 * 1 = 1.1: Q(0,0) = 0.55
    assert agent.act(np.array([1]), 0.0, legal).tolist() == [1]
    # Error 4 - -1 = 5: Q(1,1) = -1 + 2.5, Q(0,0) = 0.55 + 2.5 * 0.45 = 1.675.
    step(agent, 1, 1, 4.0, 2)
    assert_table(agent, [[1.675, 0], [0, 1.5], [0, 0], [0, 0]])


def naive(
    method: str, steps: list[tuple[int, int, float, int, bool]], next_actions: list[int], epsilon: float
) -> np.ndarray:
    """The five rules over dicts, one pair at a time, for three actions."""
    q: dict[tuple[int, int], float] = {(state, action): 0.0 for state in range(4) for action in range(3)}
    trace: dict[tuple[int, int], float] = {}
    for (state, action, reward, after, ended), chosen in zip(steps, next_actions, strict=True):
        best = max(q[after, a] for a in range(3))
        if method in ("sarsa", "sarsa-lambda"):
            value = 0.0 if ended else q[after, chosen]
        elif method == "expected-sarsa":
            value = epsilon / 3 * sum(q[after, a] for a in range(3)) + (1 - epsilon) * best
        else:
            value = best
        error = reward + (0 if ended else 0.9 * value) - q[state, action]
        if method == "q-lambda" and q[state, action] < max(q[state, a] for a in range(3)):
            trace.clear()
        trace = {pair: 0.9 * 0.5 * faint for pair, faint in trace.items()} if "lambda" in method else {}
        trace[state, action] = 1.0
        for pair, eligibility in trace.items():
            q[pair] += 0.5 * error * eligibility
        if ended:
            trace.clear()
    return np.array([[q[state, action] for action in range(3)] for state in range(4)])


STEP = st.tuples(st.integers(0, 3), st.integers(0, 2), st.floats(-9, 9), st.integers(0, 3), st.booleans())


@pytest.mark.parametrize("method", RULES)
@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, max_size=30))
def test_against_a_naive_twin(method: str, steps: list[tuple[int, int, float, int, bool]]) -> None:
    agent = make_agent(method, actions=3, epsilon_schedule="steps", epsilon_steps=1, epsilon_min=0.3)
    next_actions = []
    for state, action, reward, after, ended in steps:
        agent.steps = 10 + agent.steps  # past the fall of epsilon
        step(agent, state, action, reward, after, terminated=ended)
        next_actions.append(int(agent._next_actions[0]))
    np.testing.assert_allclose(agent.table, naive(method, steps, next_actions, 0.3), atol=1e-6)


def test_lanes_are_apart_and_share_the_table() -> None:
    """Two lanes, in one step: each has its own trace, the table is one."""
    agent = make_agent("sarsa-lambda", states=6, lanes=2)
    for states, rewards in (([0, 3], [2.0, 4.0]), ([1, 4], [8.0, 16.0])):
        agent.remember(np.array(states), [0, 0], rewards, [False] * 2, [False] * 2, np.array([2, 5]))
        agent.learn()
    # 0.5 * 2 + 0.5 * 8 * 0.45 = 2.8, 0.5 * 8 = 4; 0.5 * 4 + 0.5 * 16 * 0.45 = 5.6, 0.5 * 16 = 8.
    np.testing.assert_allclose(agent.table[:, 0], [2.8, 4, 0, 5.6, 8, 0])


@pytest.mark.parametrize("method", RULES)
def test_learns_in_all_views(method: str) -> None:
    """What is seen on one board is known of all eight that look alike."""
    env = BlobEnv(size=3, observation="cells")
    config = Config(method=method, lanes=1, learning_rate=1.0, discount=0.9, epsilon_min=0.0, epsilon_decay=0.0001)
    agent = QTableAgent(env.observation_space, env.action_space, config, symmetries_of(env))
    agent.episodes = 10**6
    first, second = np.array([[4, 0, 2]]), np.array([[3, 0, 2]])  # the middle, then up; food and enemy in corners
    agent.remember(first, [5], [-1.0], [False], [False], second)
    agent.learn()
    agent.remember(second, [7], [25.0], [True], [False], np.array([[0, 0, 2]]))
    agent.learn()
    for view in symmetries_of(env):
        value = agent.q_values(view.observations(second))[0, view.actions[7]]
        earlier = agent.q_values(view.observations(first))[0, view.actions[5]]
        assert value == 25.0
        assert earlier == pytest.approx(-1 + (25 * 0.9 * 0.9 if "lambda" in method else 0))
    assert np.count_nonzero(agent.table) == 16


@pytest.mark.parametrize("before", [0, 10, 23])
def test_a_mirrored_pair_is_the_same_pair(before: int) -> None:
    """3x3, food and enemy on the diagonal, which mirrors the player's way from (0,1) to (1,0) into the way back. There:
    error -1, Q = -0.5. Back: -1 - -0.5 moves it by -0.25 to -0.75, since its trace is 1 now, not 1 and 0.45, wherever
    in its ring of 25 columns the trace is."""
    env = BlobEnv(size=3, observation="cells")
    config = Config(
        method="sarsa-lambda", lanes=1, learning_rate=0.5, discount=0.9, trace_decay=0.5, epsilon_min=0.0,
        epsilon_decay=0.0001,
    )  # fmt: skip
    agent = QTableAgent(env.observation_space, env.action_space, config, symmetries_of(env))
    assert trace_length(config) == 25
    agent.episodes, agent.steps = 10**6, before
    there, back = np.array([[1, 0, 8]]), np.array([[3, 0, 8]])
    agent.remember(there, [3], [-1.0], [False], [False], back)  # down left
    agent.learn()
    agent.remember(back, [2], [-1.0], [False], [False], there)  # up right
    agent.learn()
    assert agent.q_values(there)[0, 3] == agent.q_values(back)[0, 2] == -0.75


def test_traces_are_forgotten_when_faint() -> None:
    assert trace_length(Config(discount=0.9, trace_decay=0.0)) == 1
    assert trace_length(Config(discount=0.9, trace_decay=0.5)) == 25  # 0.45^23 = 1.06e-8, 0.45^24 = 4.8e-9
    assert trace_length(Config(discount=1.0, trace_decay=1.0)) == 1_000


@pytest.mark.parametrize(
    "space", [Discrete(7, start=-2), MultiDiscrete([3, 4, 5]), MultiDiscrete([5] * 4, start=[-2] * 4)], ids=str
)
def test_rows(space: Any) -> None:
    """Every observation has a row of its own, in NumPy's order of the numbers."""
    starts, sizes = np.atleast_1d(space.start), np.atleast_1d(space.n if isinstance(space, Discrete) else space.nvec)
    numbers = np.stack(np.unravel_index(np.arange(sizes.prod()), sizes), axis=1)
    observations = (numbers + starts).reshape(-1, *space.shape)
    assert rows_of(observations, space).tolist() == list(range(sizes.prod()))
    assert table_shape(space, Discrete(3)) == (sizes.prod(), 3)


def test_refuses_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """10x10: cells 72 MB, offsets 9.4 MB, as float64; 50x50: offsets 6.9 GB, cells more than any machine has."""

    def gigabytes(**options: Any) -> float:
        states, actions = table_shape(BlobRules(**options).observation_space(), Discrete(9))
        return states * actions * 8 / 1e9

    assert gigabytes(observation="cells") == 0.072
    assert gigabytes(observation="offsets") == pytest.approx(0.0094, abs=1e-4)
    with pytest.raises(InputError, match=r"15,625,000,000 states and 9 actions takes 1,125.0 GB, this machine has"):
        gigabytes(size=50, observation="cells")
    with pytest.raises(InputError, match=r"takes 1,125.0 GB"):  # before TensorFlow or a solver is asked
        check_env(Config.from_preset(method="q-learning", env_args={"size": 50}))
    monkeypatch.setattr("spaces.psutil.virtual_memory", lambda: SimpleNamespace(available=200_000_000))
    cells = BlobRules(observation="cells").observation_space(), Discrete(9)
    assert table_shape(*cells) == (1_000_000, 9)
    with pytest.raises(InputError, match=r"takes 0.1 GB, and twice as much again .* --checkpoint-every 0"):
        table_shape(*cells, copied=True)
    monkeypatch.undo()
    with pytest.raises(InputError, match="observation=cells or observation=offsets"):
        gigabytes()
    many: list[Space] = [Box(0, 1, (4,)), MultiDiscrete(np.full((2, 2), 2))]
    for space in many:
        with pytest.raises(InputError, match="needs Discrete or MultiDiscrete observations"):
            table_shape(space, Discrete(2))


def test_a_finished_run_whose_last_model_was_not_written_is_finished(tmp_path: Path) -> None:
    folders = {"models_dir": str(tmp_path / "models"), "logs_dir": str(tmp_path / "logs")}
    config = Config.from_preset(method="q-learning", env="FrozenLake-v1", steps=1_000, seed=3, **folders)
    run = train(config)
    assert run.last
    latest, points = run.last.read_bytes(), [point for point in read_points(run.log_dir) if "second" not in point[0]]
    run.last.unlink()
    train(config, resume=run.log_dir)
    assert [point for point in read_points(run.log_dir) if "second" not in point[0]] == points
    with np.load(run.last) as resumed, np.load(BytesIO(latest)) as before:
        np.testing.assert_array_equal(resumed["table"], before["table"])


@pytest.mark.parametrize("observation", ["cells", "offsets"])
def test_reaches_the_optimum_of_a_small_blob(tmp_path: Path, observation: str) -> None:
    """All 3,360 starts of 4x4, from random play: Q-learning needs to have tried everything, not to play well."""
    config = Config.from_preset(
        method="q-learning", env_args={"size": 4, "observation": observation}, steps=300_000, lanes=64, seed=1,
        learning_rate_schedule="constant" if observation == "cells" else "linear",
        evaluate_every=300_000, evaluate_episodes=100, aggregate_every=1_000, epsilon_min=1.0,
        models_dir=str(tmp_path / "models"), logs_dir=str(tmp_path / "logs"),
    )  # fmt: skip
    run = train(config)
    assert run.best and run.best.suffix == ".npz"
    verdict = judge_model(read_model(run.best))
    assert (verdict.exact, verdict.n_starts) == (True, 3_360)
    if observation == "cells":
        assert verdict.optimal == 3_360 and verdict.q_error_max < 1e-4
    else:  # walls are hidden
        assert verdict.percent_of_optimum > 99 and verdict.optimal < 3_360


@pytest.mark.parametrize("method", RULES)
def test_finds_the_way_over_the_lake(tmp_path: Path, method: str) -> None:
    """The frozen lake, without slipping."""
    config = Config.from_preset(
        env="FrozenLake-v1", env_args={"is_slippery": False}, method=method, seed=1, steps=20_000, epsilon_steps=15_000,
        models_dir=str(tmp_path / "models"), logs_dir=str(tmp_path / "logs"),
    )  # fmt: skip
    assert train(config).best_scores["avg"] == 1


@pytest.mark.parametrize("method", ["q-learning", "sarsa", "expected-sarsa"])
def test_the_cliff(tmp_path: Path, method: str) -> None:
    """Sutton & Barto 2018, example 6.6: Q-learning goes along the edge, 13 steps. What learns how it really plays, with
    an epsilon of 0.1, keeps away from it: along the top are 17 steps, one row below 15."""
    config = Config.from_preset(
        env="CliffWalking-v1", method=method, seed=1, steps=40_000, epsilon_steps=1, epsilon_min=0.1,
        max_episode_steps=200, evaluate_every=40_000, evaluate_episodes=8,
        models_dir=str(tmp_path / "models"), logs_dir=str(tmp_path / "logs"),
    )  # fmt: skip
    run = train(config)
    assert optimal_mean(config) == -13
    assert run.best_scores["avg"] in ([-13] if method == "q-learning" else [-15, -17])


def save_untrained(path: Path) -> tuple[Config, np.ndarray]:
    config = Config.from_preset(method="q-learning", env_args={"size": 3}, seed=1)
    env = make_env(config)
    table = np.random.default_rng(1).normal(size=(9**3, 9))
    info = ModelInfo(config, str(env.observation_space), str(env.action_space), 1, {}, {})
    save_table(path, table, info)
    return config, table


def load(path: Path) -> np.ndarray:
    saved = read_model(path)
    q_values = load_q_values(saved, make_saved_env(saved))
    return q_values(np.stack(np.unravel_index(np.arange(9**3), (9, 9, 9)), axis=1))


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    config, table = save_untrained(path)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["table"], table)
    symmetries = make_env(config).unwrapped.symmetries  # type: ignore[attr-defined]
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
    # A header that says more than there is: refused before room is made for it, or by the archive's own checksum.
    for old, new in ((b"(729, 9)", b"(7e9, 9)"), (b"'<f8'", b"'|O8'"), (b"table.npy", b"table.exe")):
        path.write_bytes(whole)
        damage(path, old, new)
        with pytest.raises(InputError):
            load(path)
    # A table of another board.
    path.write_bytes(whole)
    info = read_model(path).info
    for table in (np.zeros((10, 9)), np.zeros((729, 9), np.float32), np.zeros((729, 9), order="F")[:, ::-1].T):
        save_table(path, table, info)
        with pytest.raises(InputError, match="holds no table for this environment"):
            load(path)


@pytest.mark.parametrize("method", RULES)
def test_goes_on_where_it_was(method: str) -> None:
    """An agent with another's state does as the other does."""

    def play(agent: QTableAgent, steps: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(steps):
            actions = agent.act(generator.integers(0, 4, 1), 0.5)
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


def test_settings_are_refused() -> None:
    with pytest.raises(InputError, match="--init-from gives a network its weights, --method sarsa has none"):
        Config(method="sarsa", init_from="x.model")


def test_offsets_hide_the_walls() -> None:
    """Of the 72,360 observations that 10x10 starts are seen as, 32 have no action that is best at every start behind
    them, so no table of offsets plays every start as well as can be."""
    rules = BlobRules(observation="offsets")
    states, _ = table_shape(rules.observation_space(), Discrete(9))
    always_best, seen = np.ones((states, 9), bool), np.zeros(states, bool)
    player = np.arange(100)
    for food in range(100):
        enemies = np.delete(np.arange(100), food)
        q_values = Games(rules, np.full(99, food), enemies).optimal_q_values(1.0)  # (cells, actions, games)
        best = q_values >= q_values.max(axis=1, keepdims=True) - TOLERANCE
        players, games = np.nonzero((player[:, None] != food) & (player[:, None] != enemies))
        cells = np.stack([players, np.full(len(players), food), enemies[games]], axis=1)
        rows = rows_of(rules.observe(np.stack(np.divmod(cells, 10), axis=2)), rules.observation_space())  # type: ignore[arg-type]
        np.logical_and.at(always_best, rows, best[players, :, games])
        seen[rows] = True
    assert seen.sum() == 72_360
    assert (seen & ~always_best.any(axis=1)).sum() == 32
