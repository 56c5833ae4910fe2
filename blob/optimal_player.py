"""An optimal player."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from blob.solver import Games, cells_of
from blob_env import BlobEnv
from environments.spaces import Observations, QValues

TIE_BREAK = 1e-6  # reward taken off for every step, so that among equally good moves the shorter path wins


def best_q_values(env: gym.Env) -> QValues:
    """Return the optimal undiscounted Q-values of the board that a solvable Blob is on now, as a function.

    The function ignores the observation that it is called with. Ties go to the shorter path.
    """
    blob = env.unwrapped
    assert isinstance(blob, BlobEnv)
    solved: dict[tuple[int, int], np.ndarray] = {}

    def q_values(observations: Observations) -> np.ndarray:
        player, *others = cells_of(blob.rules, blob.positions)[0].tolist()
        if tuple(others) not in solved:
            solved.clear()  # a new episode: the last game is over
            game = Games(blob.rules, *np.array(others)[:, None])
            values = game.optimal_q_values(1.0)
            solved[tuple(others)] = (values - TIE_BREAK * game.steps_after(values).astype(float))[:, :, 0]
        return solved[tuple(others)][player][None]

    return q_values
