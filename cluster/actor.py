"""An actor plays some of the lanes with a copy of the network (Horgan et al. 2018, "Distributed prioritized experience
replay"). It knows nothing of Ray."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import optree
import tensorflow as tf

from agent import update_signature
from config import Config
from console import PROJECT
from environments import global_random
from environments.actions import epsilon_greedy
from environments.lanes import Step, make_lanes
from environments.spaces import example_observation
from environments.symmetry import Symmetry
from losses import make_loss
from networks import build_q_network, compile_q_values
from replay.frames import Frames
from storage.versions import versions
from training.greedy_play import GreedyEpisodes, play_greedily

LENGTH = 32  # steps of a chunk: longer ones play with older weights, shorter ones cost more calls


class Chunk(NamedTuple):
    """`LENGTH` steps of some lanes. It holds nothing but arrays, lists and numbers, as checkpoints need it.

    Observations are lists of the arrays in their structure; of stacked frames only the newest is there.

    Attributes:
        actions: int64 (length, lanes).
        rewards, terminated, truncated: (length, lanes), as in `Step`.
        next_observations: arrays (length, lanes, ...), to act on next.
        next_masks, successor_masks: bool (length, lanes, n_actions).
        successors: arrays (lanes, ...) for each step in which an episode ended; in the others they are the next
            observations.
        successes: bool (lanes,) for each step that has them.
        td_errors: float32 (length, lanes), the first priorities; empty if they are not needed.
        state: of the actor behind it.
    """

    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    next_observations: list[np.ndarray]
    next_masks: np.ndarray
    successor_masks: np.ndarray
    successors: dict[str, list[np.ndarray]]
    successes: dict[str, np.ndarray]
    td_errors: np.ndarray
    state: Any

    def step(self, index: int, structure: Any) -> Step:
        """Return a step, its observations in their structure."""
        next_leaves = [arrays[index] for arrays in self.next_observations]
        return Step(
            self.rewards[index],
            self.terminated[index],
            self.truncated[index],
            optree.tree_unflatten(structure, self.successors.get(str(index), next_leaves)),
            self.successor_masks[index],
            optree.tree_unflatten(structure, next_leaves),
            self.next_masks[index],
            self.successes.get(str(index)),
        )


def newest_frames(observations: Any, stack: int) -> list[np.ndarray]:
    """Return the arrays (lanes, ...) of observations, with the newest alone of their stacked frames."""
    return [array[:, -1:] if stack > 1 else array for array in optree.tree_leaves(observations)]


def pack(actions: Sequence[np.ndarray], steps: Sequence[Step], stack: int, td_errors: np.ndarray, state: Any) -> Chunk:
    """Make a chunk of steps and the actions that led to them."""
    ends = [index for index, step in enumerate(steps) if step.successors is not step.next_observations]
    observations = zip(*(newest_frames(step.next_observations, stack) for step in steps), strict=True)
    rewards, terminated, truncated, next_masks, successor_masks = (
        np.stack([getattr(step, name) for step in steps])
        for name in ("rewards", "terminated", "truncated", "next_masks", "successor_masks")
    )
    return Chunk(
        np.stack(actions),
        rewards,
        terminated,
        truncated,
        [np.stack(arrays) for arrays in observations],
        next_masks,
        successor_masks,
        {str(index): newest_frames(steps[index].successors, stack) for index in ends},
        {str(index): step.successes for index, step in enumerate(steps) if step.successes is not None},
        td_errors,
        state,
    )


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Put the lanes of several actors side by side. The result has no state."""

    def side_by_side(name: str) -> np.ndarray:
        return np.concatenate([getattr(chunk, name) for chunk in chunks], axis=1)

    def successors_of(chunk: Chunk, index: str) -> list[np.ndarray]:
        return chunk.successors.get(index, [arrays[int(index)] for arrays in chunk.next_observations])

    def successes_of(chunk: Chunk, index: str) -> np.ndarray:
        return chunk.successes.get(index, np.zeros(chunk.actions.shape[1], bool))

    ends = {index for chunk in chunks for index in chunk.successors}
    wins = {index for chunk in chunks for index in chunk.successes}
    observations = zip(*(chunk.next_observations for chunk in chunks), strict=True)
    return Chunk(
        side_by_side("actions"),
        side_by_side("rewards"),
        side_by_side("terminated"),
        side_by_side("truncated"),
        [np.concatenate(arrays, axis=1) for arrays in observations],
        side_by_side("next_masks"),
        side_by_side("successor_masks"),
        {
            index: [np.concatenate(arrays) for arrays in zip(*(successors_of(c, index) for c in chunks), strict=True)]
            for index in sorted(ends)
        },
        {index: np.concatenate([successes_of(chunk, index) for chunk in chunks]) for index in sorted(wins)},
        side_by_side("td_errors"),
        None,
    )


class Actor:
    """Plays its share of the lanes.

    What it plays depends on its state and on what it is asked alone, so one that takes the place of another, and is
    given its state, plays the same.

    Args:
        config: of the run.
        number: of the actor, from 0. It has the lanes from `number * config.lanes / config.actors` on.
    """

    def __init__(self, config: Config, number: int) -> None:
        self._config, self._number = config, number
        self._moves = 0
        self._envs: Any = None  # Lanes, once it is prepared

    def prepare(self) -> dict[str, str]:
        """Make the lanes and the network. Returns the versions of what it runs on.

        Raises:
            InputError: as `make_lanes` and `build_q_network`.
        """
        config = self._config
        self._lanes = config.lanes // config.actors
        self._envs = make_lanes(config, self._lanes, resumable=True)
        seeds = np.random.SeedSequence(config.seed or 0, spawn_key=(self._number,))
        keras.utils.set_random_seed(int(seeds.generate_state(1)[0]))  # of noisy layers
        self._generator = np.random.default_rng(seeds)
        space = self._envs.observation_space
        self._network = build_q_network(space, self._envs.n_actions, **config.network_settings())
        self._q_values = compile_q_values(self._network, space, is_noisy=config.noisy)
        self._evaluated_by: Any = None  # made when it is asked for
        errors = functools.partial(make_loss(config).td_errors, self._network, self._network)
        self._td_errors = tf.function(errors, input_signature=[update_signature(space, self._envs.n_actions)])
        return {**versions(), "this project": code_version()}

    def moves(self) -> int:
        """The steps that it has played so far, by which one that is slow differs from one that hangs."""
        return self._moves + (self._envs.moves if self._envs else 0)

    def symmetries(self) -> Sequence[Symmetry]:
        """Those that the environment declares."""
        return self._envs.symmetries if self._config.symmetries else ()

    def reset(self, seed: int) -> Any:
        """Start an episode in every lane. Returns the state."""
        self._observations, self._masks = self._envs.reset(seed + self._number * self._lanes)
        return self.get_state()

    def play(self, weights: Sequence[np.ndarray], epsilons: np.ndarray) -> Chunk:
        """Play a chunk.

        Args:
            weights: of the network.
            epsilons: float64 (lanes,), the probability of a random action in each of its lanes.
        """
        self._network.set_weights(weights)
        actions, steps = [], []
        before = self._observations, self._masks
        for _ in range(LENGTH):
            q_values = self._q_values(self._observations)
            actions.append(epsilon_greedy(q_values, self._masks, epsilons, self._generator))
            steps.append(self._envs.step(actions[-1]))
            self._observations, self._masks = steps[-1].next_observations, steps[-1].next_masks
            self._moves += 1
        td_errors = self._first_td_errors(*before, actions, steps)
        return pack(actions, steps, self._config.frame_stack, td_errors, self.get_state())

    def _first_td_errors(
        self, observations: Any, masks: np.ndarray, actions: Sequence[np.ndarray], steps: Sequence[Step]
    ) -> np.ndarray:
        """Value what was just played, by this network alone: n-step returns end with the chunk."""
        config, shape = self._config, (len(steps), self._lanes)
        if not config.prioritized:
            return np.zeros((len(steps), 0), np.float32)
        example = example_observation(self._envs.observation_space)
        # The stacks are stored whole: those of the first steps reach back behind the chunk.
        frames = Frames(len(steps) * self._lanes, self._lanes, example, self._envs.n_actions)
        for taken, step in zip(actions, steps, strict=True):
            frames.append(observations, taken, step._replace(rewards=config.clip_rewards(step.rewards)), masks)
            observations, masks = step.next_observations, step.next_masks
        batch = frames.n_step(frames.slots(np.arange(len(frames))), config.n_step, config.discount)
        return self._td_errors(batch).numpy().reshape(shape)

    def evaluate(self, weights: Sequence[np.ndarray], lanes: int, episodes: int, seed: int) -> GreedyEpisodes:
        """Play greedily, as `play_greedily`, in lanes of its own that are kept for the next time."""
        if not self._evaluated_by:  # a run always evaluates in the same number of lanes
            q_values = compile_q_values(self._network, self._envs.observation_space, self.symmetries())
            self._evaluated_by = make_lanes(self._config, lanes), q_values
        noise, generators = self._get_noise(), global_random.get_state()
        self._network.set_weights(weights)
        envs, q_values = self._evaluated_by
        played = play_greedily(envs, q_values, episodes, seed, self._config, self._count_move)
        self._set_noise(noise)  # whoever takes this one's place does not evaluate again
        global_random.set_state(generators)
        return played

    def _count_move(self) -> bool:
        self._moves += 1
        return False

    def _noise_variables(self) -> list[keras.Variable]:
        """The states of the generators in noisy layers and those that draw quantiles."""
        weights = {id(variable) for variable in self._network.weights}
        return [variable for variable in self._network.variables if id(variable) not in weights]

    def _get_noise(self) -> list[np.ndarray]:
        return [np.array(variable) for variable in self._noise_variables()]

    def _set_noise(self, noise: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self._noise_variables(), noise, strict=True):
            variable.assign(value)

    def get_state(self) -> Any:
        """Save everything that it will play depends on, beside what it will be asked."""
        return {
            "lanes": self._envs.get_state(),
            "observations": optree.tree_leaves(self._observations),
            "masks": self._masks,
            "generator": self._generator.bit_generator.state,
            "noise": self._get_noise(),
            "generators": global_random.get_state(),
        }

    def set_state(self, state: Any) -> tuple[dict[int, str], Any]:
        """Go on where an actor stood.

        Returns:
            Its lanes that had to start a new episode, each with the reason, and the state where it stands now.
        """
        observations, _ = self._envs.reset(0)
        leaves = [np.array(array) for array in state["observations"]]  # Ray's cannot be written to
        self._observations = optree.tree_unflatten(optree.tree_structure(observations), leaves)
        self._masks = np.array(state["masks"])
        restarted = self._envs.set_state(state["lanes"], self._observations, self._masks)
        self._generator.bit_generator.state = state["generator"]
        self._set_noise(state["noise"])
        global_random.set_state(state["generators"])
        return restarted, self.get_state()

    def close(self) -> None:
        """Close all environments."""
        self._envs.close()
        if self._evaluated_by:
            self._evaluated_by[0].close()


def code_version() -> str:
    """Return a digest of the project's own code."""
    digest = hashlib.sha256()
    rooms = [path.parent for path in PROJECT.glob("*/__init__.py") if path.parent.name not in ("tests", "experiments")]
    for path in sorted(path for folder in (PROJECT, *rooms) for path in folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
