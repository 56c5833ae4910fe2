"""Legal actions: read from infos, and respected wherever an action is chosen or a maximum is taken."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from agent import DQNAgent
from config import Config
from environments.actions import action_masks, best_actions, legal_values, successor_masks
from environments.lanes import make_lanes
from train import train
from training.greedy_play import play_greedily


def test_masks_by_hand() -> None:
    infos = {"action_mask": np.array([[1, 0, 1], [0, 0, 0]], np.int8), "_action_mask": np.array([True, True])}
    # A mask without a legal action forbids nothing, and neither does an environment without masks.
    assert action_masks(infos, (2, 3)).tolist() == [[True, False, True], [True, True, True]]
    assert action_masks({}, (2, 3)).all()


def test_masks_of_successors_by_hand() -> None:
    """The episode of the second lane ended; the mask there is in the final info."""
    final = {"action_mask": np.array([[0, 0, 0], [0, 0, 1]], np.int8), "_action_mask": np.array([False, True])}
    infos = {"final_info": final, "_final_info": np.array([False, True])}
    masks = np.array([[True, False, True], [True, False, False]])
    assert successor_masks(masks, infos).tolist() == [[True, False, True], [False, False, True]]
    assert masks.tolist() == [[True, False, True], [True, False, False]]
    assert successor_masks(masks, {}).tolist() == masks.tolist()


def test_the_best_legal_action_by_hand() -> None:
    q_values = np.array([[1.0, 3.0, 2.0], [-5.0, -1.0, -9.0], [0.0, 0.0, 7.0]])
    masks = np.array([[True, False, True], [True, False, True], [True, True, True]])
    assert best_actions(q_values, masks).tolist() == [2, 0, 2]
    assert legal_values(q_values, masks).max(axis=1).tolist() == [2.0, -5.0, 7.0]


def test_random_legal_actions_are_equally_likely() -> None:
    space = gym.spaces.Box(-1, 1, (2,), np.float32)
    agent = DQNAgent(space, gym.spaces.Discrete(4), Config(seed=0, lanes=1, memory_size=10, learn_start=10))
    masks = np.tile([True, False, True, True], (6000, 1))
    counts = np.bincount(agent.act(np.zeros((6000, 2), np.float32), masks, 1.0), minlength=4)
    # Three outcomes, expected 2,000 times each with a standard deviation of 37.
    assert counts[1] == 0 and (np.abs(counts[[0, 2, 3]] - 2000) < 4 * 37).all()


class OneLegal(gym.Env):
    """In state s of five, only action s % 3 is legal and all others raise. The episode ends after all states."""

    observation_space = gym.spaces.Discrete(5)
    action_space = gym.spaces.Discrete(3, start=10)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        self.state = 0
        return self.state, self._info()

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        if action != 10 + self.state % 3:
            raise ValueError(f"{action} is illegal in state {self.state}")
        self.state += 1
        ended = self.state == 5
        return self.state % 5, 1.0, ended, False, self._info()

    def _info(self) -> dict:
        return {"action_mask": np.eye(3, dtype=np.int8)[self.state % 3]}


@pytest.fixture
def one_legal(tmp_path: Path) -> Config:
    gym.registry.pop("OneLegal-v0", None)
    gym.register("OneLegal-v0", lambda **_: OneLegal())
    folders = {"models_dir": f"{tmp_path}/m", "logs_dir": f"{tmp_path}/l"}
    return Config.from_preset(
        env="OneLegal-v0", seed=1, steps=400, lanes=2, learn_start=20, evaluate_episodes=5, aggregate_every=2, **folders
    )


def test_no_illegal_action_is_ever_taken(one_legal: Config) -> None:
    """Neither at random nor greedily, in training nor by lanes of an evaluation that have played their share."""
    result = train(one_legal)
    assert result.episodes == 80 and result.updates > 50
    envs = make_lanes(one_legal, 3)
    episodes = play_greedily(envs, result.agent.q_values, 4, 0, one_legal)
    assert episodes.returns.tolist() == [5.0] * 4


@pytest.mark.parametrize(
    ("reward_clip", "expected"),
    [
        (0.0, 5.0625),  # 7 - (1 + 0.5 + 0.25 + 0.125 + 0.0625)
        (0.5, 6.03125),  # half as much is earned: 7 - 0.96875
    ],
)
def test_an_illegal_action_overestimates_nothing(one_legal: Config, reward_clip: float, expected: float) -> None:
    """In the first state only action 0 is legal, worth 7; the others are worth 100."""
    config = Config(env=one_legal.env, discount=0.5, reward_clip=reward_clip)
    with make_lanes(config, 2) as envs:
        episodes = play_greedily(envs, lambda states: np.tile([7.0, 100.0, 100.0], (len(states), 1)), 4, 0, config)
    assert episodes.overestimation.tolist() == [expected] * 4
    assert episodes.returns.tolist() == [5.0] * 4
