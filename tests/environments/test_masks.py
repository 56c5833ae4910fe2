"""Legal actions: read from infos, the final ones at an episode's end, and respected wherever an action is chosen."""

import gymnasium as gym
import numpy as np
import pytest

from agent import DQNAgent
from config import Config
from environments.actions import action_masks, best_actions, final_action_masks
from environments.lanes import make_vector_env
from replay_memory import ReplayMemory
from train import train
from training.greedy_play import play_greedily


def test_masks_by_hand() -> None:
    infos = {"action_mask": np.array([[1, 0, 1], [0, 0, 0]], np.int8), "_action_mask": np.array([True, True])}
    # A mask without any legal action bars nothing, and neither does an environment that has no masks.
    assert action_masks(infos, (2, 3)).tolist() == [[True, False, True], [True, True, True]]
    assert action_masks({}, (2, 3)).all()


def test_the_best_legal_action_by_hand() -> None:
    q_values = np.array([[1.0, 3.0, 2.0], [-5.0, -1.0, -9.0], [0.0, 0.0, 7.0]])
    masks = np.array([[True, False, True], [True, False, True], [True, True, True]])
    assert best_actions(q_values, masks).tolist() == [2, 0, 2]


def test_the_stored_mask_is_the_final_observations_not_the_resets() -> None:
    """Taxi truncated after 3 steps, four lanes beside four single ones that are played by hand."""
    lanes, steps = 4, 30
    config = Config(env="Taxi-v4", max_episode_steps=3)
    envs = make_vector_env(config, lanes)
    singles = [gym.make("Taxi-v4", max_episode_steps=3) for _ in range(lanes)]
    memory = ReplayMemory(1000, lanes, np.zeros((), np.int32), 6)
    generator = np.random.default_rng(0)
    observations, infos = envs.reset(seed=5)
    expected = [single.reset(seed=5 + i)[1]["action_mask"] for i, single in enumerate(singles)]
    differ = 0
    for step in range(steps):
        masks = action_masks(infos, (lanes, 6))
        np.testing.assert_array_equal(masks, np.array(expected, bool))
        actions = best_actions(generator.random((lanes, 6)), masks)
        next_observations, rewards, terminated, truncated, infos = envs.step(actions)
        final_masks = final_action_masks(infos, (lanes, 6))
        memory.append(observations, actions, rewards, terminated, truncated, next_observations, final_masks)
        for i, single in enumerate(singles):
            *_, single_terminated, single_truncated, info = single.step(actions[i])
            expected[i] = info["action_mask"]
            stored = memory[step * lanes + i]
            np.testing.assert_array_equal(stored.next_mask, info["action_mask"].astype(bool))
            if single_terminated or single_truncated:
                assert stored.truncated
                expected[i] = single.reset()[1]["action_mask"]
                differ += int((expected[i] != info["action_mask"]).any())
        observations = next_observations
    assert differ > 20  # most resets put the taxi where other actions are legal


class OneLegal(gym.Env):
    """In state s of five only action s % 3 is legal, any other raises; the episode ends after all states."""

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
def one_legal(tmp_path: pytest.TempPathFactory) -> Config:
    gym.registry.pop("OneLegal-v0", None)
    gym.register("OneLegal-v0", lambda **_: OneLegal())
    folders = {"models_dir": f"{tmp_path}/m", "logs_dir": f"{tmp_path}/l"}
    return Config.from_preset(
        env="OneLegal-v0", seed=1, steps=400, lanes=2, learn_start=20, evaluate_episodes=5, aggregate_every=2, **folders
    )


def test_no_illegal_action_is_ever_taken(one_legal: Config) -> None:
    """At random, greedily, in training, and by lanes of an evaluation that have played their share."""
    run = train(one_legal)
    assert run.episode == 80 and run.agent.updates > 50
    envs = make_vector_env(one_legal, 3)
    episodes = play_greedily(envs, run.agent.q_values, 4, 0, 0.9, 0.0)
    assert episodes.returns.tolist() == [5.0] * 4


def test_random_legal_actions_are_equally_likely() -> None:
    space = gym.spaces.Box(-1, 1, (2,), np.float32)
    agent = DQNAgent(space, gym.spaces.Discrete(4), Config(seed=0, lanes=1, memory_size=10, learn_start=10))
    masks = np.tile([True, False, True, True], (6000, 1))
    counts = np.bincount(agent.act(np.zeros((6000, 2), np.float32), 1.0, masks), minlength=4)
    # Three outcomes, expected 2,000 times each with a standard deviation of 37.
    assert counts[1] == 0 and (np.abs(counts[[0, 2, 3]] - 2000) < 4 * 37).all()
