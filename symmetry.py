"""Changes of view under which an environment stays the same: what is learned in one view holds in all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from spaces import QValues

AT_A_TIME = 128  # observations seen from all views in one call, which bounds its memory


class Symmetry(NamedTuple):
    """A change of view under which an environment is the same. An environment publishes its own, the unchanged view
    among them, in an attribute `symmetries`.

    Attributes:
        observations: maps observations (n, ...) to what they look like from there.
        actions: int64 (n_actions,); action a looks like `actions[a]` from there.
    """

    observations: Callable[[np.ndarray], np.ndarray]
    actions: np.ndarray


def _mirror(signs: Sequence[int], actions: Sequence[int], order: Sequence[int] | None = None) -> list[Symmetry]:
    """Of an environment of vectors that is the same in a mirror: the signs that the numbers get there, what the actions
    become, and which numbers change places."""
    sign, places = np.array(signs, np.float32), np.array(order or range(len(signs)))
    unchanged = Symmetry(lambda observations: observations, np.arange(len(actions)))
    return [unchanged, Symmetry(lambda observations: observations[:, places] * sign, np.array(actions))]


# Of Gymnasium's environments, which publish none: left and right are alike.
KNOWN: dict[str, list[Symmetry]] = {
    "CartPole-v1": _mirror([-1, -1, -1, -1], [1, 0]),
    "Acrobot-v1": _mirror([1, -1, 1, -1, -1, -1], [2, 1, 0]),
    # The legs change places.
    "LunarLander-v3": _mirror([-1, 1, -1, 1, -1, -1, 1, 1], [0, 3, 2, 1], order=[0, 1, 2, 3, 4, 5, 7, 6]),
}


def mean_over_views(q_values: QValues, symmetries: Sequence[Symmetry]) -> QValues:
    """Q-values as the mean of what a network says in all views.

    The views agree on the true values and err apart, so the mean errs less: a bagging of one network with itself.

    Args:
        q_values: from observations (batch, ...) to (batch, n_actions).
        symmetries: the views; `q_values` itself is returned where there are none.
    """
    if not symmetries:
        return q_values

    def mean(observations: np.ndarray) -> np.ndarray:
        looks = np.concatenate([view.observations(observations) for view in symmetries])
        values = q_values(looks).reshape(len(symmetries), len(observations), -1)
        return np.mean([seen[:, view.actions] for seen, view in zip(values, symmetries, strict=True)], axis=0)

    return lambda observations: np.concatenate(
        [mean(observations[first : first + AT_A_TIME]) for first in range(0, len(observations), AT_A_TIME)]
    )
