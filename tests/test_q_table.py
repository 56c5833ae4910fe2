"""The tabular rules: against numbers worked out by hand, and against a naive twin."""

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete
from hypothesis import given, settings
from hypothesis import strategies as st

from blob.solver import TOLERANCE, Games
from blob_env import BlobEnv, BlobRules
from config import METHODS, Config
from environments.known import symmetries_of
from environments.lanes import Step
from environments.table_rows import rows_of, table_shape
from q_table import QTableAgent, trace_length

RULES = METHODS[1:]


def make_agent(method: str, states: int = 4, actions: int = 2, **options: Any) -> QTableAgent:
    """Make an agent with one lane, alpha 0.5, discount 0.9 and lambda 0.5; it is greedy without `epsilon_min`."""
    defaults: dict[str, Any] = {
        "lanes": 1, "learning_rate": 0.5, "discount": 0.9, "trace_decay": 0.5, "reward_clip": 0.0, "seed": 1,
        "epsilon_schedule": "episodes", "epsilon_decay": 0.0001, "epsilon_min": 0.0,
        "epsilon_spread": 0.0,
    }  # fmt: skip
    agent = QTableAgent(Discrete(states), Discrete(actions), Config(method=method, **{**defaults, **options}))
    agent.episodes = 0 if "epsilon_min" in options else 10**6  # epsilon is 1, or almost 0
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
    """Remember one step of the one lane, and learn from it."""
    agent.remember([state], [action], Step([reward], [terminated], [truncated], np.array([next_state]), masks))
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
    # Truncated: the next state keeps its value: 0.5 * 3.5 + 0.5 * (1 + 9) = 6.75.
    step(agent, 0, 1, 1.0, 1, truncated=True)
    assert agent.table[0, 1] == pytest.approx(6.75)
    # Only the second action is legal in the next state: 0.5 * 6.75 + 0.5 * (1 + 0.9 * 4) = 5.675.
    step(agent, 0, 1, 1.0, 1, masks=[[False, True]])
    assert agent.table[0, 1] == pytest.approx(5.675)
    assert (agent.steps, agent.updates, agent.episodes) == (4, 4, 10**6 + 2)


def test_rewards_are_clipped() -> None:
    agent = make_agent("q-learning", reward_clip=5.0)
    step(agent, 0, 0, -300.0, 1)
    assert agent.table[0, 0] == 0.5 * -5


def test_sarsa_by_hand() -> None:
    """Sutton & Barto 2018, eq. 6.7 (Rummery & Niranjan 1994): the value of the next action, here a random one.

    0.5 * 2 + 0.5 * (1 + 0.9 * 10) = 6 if it is the first, 0.5 * 2 + 0.5 * (1 + 0.9 * 4) = 3.3 if it is the second.
    """
    agent = make_agent("sarsa", epsilon_min=1.0)
    seen = set()
    for _ in range(20):
        agent.table[:] = [[0, 2], [10, 4], [0, 0], [0, 0]]
        step(agent, 0, 1, 1.0, 1)
        (action,) = agent.act(np.array([1]), epsilon=1.0)
        assert agent.table[0, 1] == pytest.approx(6 if action == 0 else 3.3)
        assert agent.act(np.array([1]), epsilon=1.0) == [action]  # and it takes that action
        seen.add(int(action))
    assert seen == {0, 1}
    # After an episode's end no action has been chosen yet: 0.5 * 2 + 0.5 * 1 = 1.5.
    agent.table[:] = [[0, 2], [10, 4], [0, 0], [0, 0]]
    step(agent, 0, 1, 1.0, 1, terminated=True)
    assert agent.table[0, 1] == pytest.approx(1.5)
    assert {int(agent.act(np.array([1]), epsilon=1.0)[0]) for _ in range(20)} == {0, 1}


def test_expected_sarsa_by_hand() -> None:
    """Sutton & Barto 2018, eq. 6.9, with epsilon 0.2 and three actions worth 10, 4 and 1.

    Each has probability 0.2 / 3, and the first 0.8 more: 0.2 * 5 + 0.8 * 10 = 9. 0.5 * 2 + 0.5 * (1 + 0.9 * 9) = 5.55.
    """
    agent = make_agent("expected-sarsa", actions=3, epsilon_schedule="steps", epsilon_steps=1, epsilon_min=0.2)
    agent.table[:2] = [[0, 2, 0], [10, 4, 1]]
    step(agent, 0, 1, 1.0, 1)
    assert agent.epsilon == [0.2]
    assert agent.table[0, 1] == pytest.approx(5.55)
    # The first is illegal: 0.2 * 2.5 + 0.8 * 4 = 3.7. 0.5 * 5.55 + 0.5 * (1 + 0.9 * 3.7) = 4.94.
    step(agent, 0, 1, 1.0, 1, masks=[[False, True, True]])
    assert agent.table[0, 1] == pytest.approx(4.94)


def test_sarsa_lambda_by_hand() -> None:
    """Sutton & Barto 2018, eq. 12.6 and 12.7 for pairs (section 12.7), with replacing traces (eq. 12.12).

    All actions are greedy, and all values 0 at first.
    """
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
    # A new episode has no traces of the last one.
    step(agent, 2, 0, 1.0, 2, terminated=True)
    assert_table(agent, [[3.6, 0], [2.765, 0], [0.5, 0], [0, 5]])


def test_q_lambda_by_hand() -> None:
    """Watkins's Q(lambda), Sutton & Barto 2018, section 12.10: the maximum, and a non-greedy action cuts the traces."""
    agent = make_agent("q-lambda")
    agent.table[2] = [6, 8]
    step(agent, 0, 0, 2.0, 1)  # Q(0,0) = 1
    # Greedy (a tie): error 4 + 0.9 * 8 = 11.2, Q(1,1) = 5.6, Q(0,0) = 1 + 5.6 * 0.45 = 3.52.
    step(agent, 1, 1, 4.0, 2)
    assert_table(agent, [[3.52, 0], [0, 5.6], [6, 8], [0, 0]])
    # Not greedy: error 1 - 6 = -5 for Q(2,0) alone.
    step(agent, 2, 0, 1.0, 3)
    assert_table(agent, [[3.52, 0], [0, 5.6], [3.5, 8], [0, 0]])
    # Greedy again: error 2. Q(3,0) = 1, and Q(2,0) = 3.5 + 0.45; the earlier pairs keep their values.
    step(agent, 3, 0, 2.0, 3, truncated=True)
    assert_table(agent, [[3.52, 0], [0, 5.6], [3.95, 8], [1, 0]])


def test_q_lambda_is_greedy_among_legal_actions() -> None:
    """In state 1 action 0 is worth more, 0, but illegal. So action 1 is greedy there, and the trace goes on."""
    agent = make_agent("q-lambda")
    agent.table[1] = [0, -1]
    legal = np.array([[False, True]])
    step(agent, 0, 0, 2.0, 1, masks=legal)  # error 2 - 0.9 * 1 = 1.1: Q(0,0) = 0.55
    assert agent.act(np.array([1]), legal, 0.0).tolist() == [1]
    # Error 4 - -1 = 5: Q(1,1) = -1 + 2.5, Q(0,0) = 0.55 + 2.5 * 0.45 = 1.675.
    step(agent, 1, 1, 4.0, 2)
    assert_table(agent, [[1.675, 0], [0, 1.5], [0, 0], [0, 0]])


def naive(
    method: str, steps: list[tuple[int, int, float, int, bool]], next_actions: list[int], epsilon: float
) -> np.ndarray:
    """Learn by one of the five rules, in dicts, one pair at a time, with three actions."""
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
        agent.steps = 10 + agent.steps  # epsilon has fallen to its lowest
        step(agent, state, action, reward, after, terminated=ended)
        next_actions.append(int(agent._next_actions[0]))
    np.testing.assert_allclose(agent.table, naive(method, steps, next_actions, 0.3), atol=1e-6)


def test_lanes_have_their_own_traces_and_share_the_table() -> None:
    agent = make_agent("sarsa-lambda", states=6, lanes=2)
    for states, rewards in (([0, 3], [2.0, 4.0]), ([1, 4], [8.0, 16.0])):
        agent.remember(np.array(states), [0, 0], Step(rewards, [False] * 2, [False] * 2, np.array([2, 5])))
        agent.learn()
    # 0.5 * 2 + 0.5 * 8 * 0.45 = 2.8, 0.5 * 8 = 4; 0.5 * 4 + 0.5 * 16 * 0.45 = 5.6, 0.5 * 16 = 8.
    np.testing.assert_allclose(agent.table[:, 0], [2.8, 4, 0, 5.6, 8, 0])


@pytest.mark.parametrize("method", RULES)
def test_learns_in_all_views(method: str) -> None:
    """What is learned on one board is written into all eight views of it."""
    env = BlobEnv(size=3, observation="cells")
    config = Config(
        method=method,
        lanes=1,
        learning_rate=1.0,
        discount=0.9,
        epsilon_min=0.0,
        epsilon_decay=0.0001,
        epsilon_spread=0.0,
    )
    agent = QTableAgent(env.observation_space, env.action_space, config, symmetries_of(env))
    agent.episodes = 10**6
    first, second = np.array([[4, 0, 2]]), np.array([[3, 0, 2]])  # the player in the middle, then up
    agent.remember(first, [5], Step([-1.0], [False], [False], second))
    agent.learn()
    agent.remember(second, [7], Step([25.0], [True], [False], np.array([[0, 0, 2]])))
    agent.learn()
    for view in symmetries_of(env):
        value = agent.q_values(view.observations(second))[0, view.actions[7]]
        earlier = agent.q_values(view.observations(first))[0, view.actions[5]]
        assert value == 25.0
        assert earlier == pytest.approx(-1 + (25 * 0.9 * 0.9 if "lambda" in method else 0))
    assert np.count_nonzero(agent.table) == 16


@pytest.mark.parametrize("before", [0, 10, 23])
def test_a_mirrored_pair_is_the_same_pair(before: int) -> None:
    """3x3, food and enemy on the diagonal, which mirrors the way from (0,1) to (1,0) into the way back.

    There: error -1, Q = -0.5. Back: -1 - -0.5 moves it by -0.25 to -0.75, since its trace is 1 now, not 1 and 0.45.
    This holds wherever in its ring of 25 columns the trace is.
    """
    env = BlobEnv(size=3, observation="cells")
    config = Config(
        method="sarsa-lambda", lanes=1, learning_rate=0.5, discount=0.9, trace_decay=0.5, epsilon_min=0.0,
        epsilon_decay=0.0001, epsilon_spread=0.0,
    )  # fmt: skip
    agent = QTableAgent(env.observation_space, env.action_space, config, symmetries_of(env))
    assert trace_length(config) == 25
    agent.episodes, agent.steps = 10**6, before
    there, back = np.array([[1, 0, 8]]), np.array([[3, 0, 8]])
    agent.remember(there, [3], Step([-1.0], [False], [False], back))  # down left
    agent.learn()
    agent.remember(back, [2], Step([-1.0], [False], [False], there))  # up right
    agent.learn()
    assert agent.q_values(there)[0, 3] == agent.q_values(back)[0, 2] == -0.75


def test_traces_are_forgotten_when_faint() -> None:
    assert trace_length(Config(discount=0.9, trace_decay=0.0)) == 1
    assert trace_length(Config(discount=0.9, trace_decay=0.5)) == 25  # 0.45^23 = 1.06e-8, 0.45^24 = 4.8e-9
    assert trace_length(Config(discount=1.0, trace_decay=1.0)) == 1_000


def test_offsets_hide_the_walls() -> None:
    """No table of offsets plays every start of 10x10 optimally.

    The starts have 72,360 different observations. 32 of those have no action that is best at all of their starts.
    """
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
