"""Stop a run whose learning has diverged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from config import Config
from console.errors import InputError
from losses import UpdateStats


class DivergenceGuard:
    """Looks at all rewards and updates of a run, and raises InputError when they show that learning has diverged.

    Args:
        config: the run's settings.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._largest_reward = 0.0  # in size, as learned from

    @property
    def q_limit(self) -> float:
        """The largest size of a Q-value that the rewards so far and the discount allow: r / (1 - discount)."""
        discount = self._config.discount
        return self._largest_reward / (1 - discount) if discount < 1 else np.inf

    def check(self, rewards: npt.ArrayLike, updates: Sequence[UpdateStats], episodes: int) -> None:
        """Check one step of every lane.

        Args:
            rewards: float (lanes,).
            updates: done after the step.
            episodes: played so far, for the message.

        Raises:
            InputError: a reward or a loss is not finite, or Q-values are far beyond `q_limit`.
        """
        if not np.isfinite(rewards).all():
            raise InputError(
                f"{self._config.env} gave a reward that is not a finite number, so the run was stopped: look in its "
                "step for a division by zero or an overflow"
            )
        self._largest_reward = max(self._largest_reward, float(np.abs(self._config.clip_rewards(rewards)).max()))
        for update in updates:
            self._check_update(update, f"after {episodes:,} episodes, so the run was stopped")

    def _check_update(self, update: UpdateStats, where: str) -> None:
        config = self._config
        fix, more = f"lower --learning-rate {config.learning_rate:g}", ""
        if config.method == "dqn":
            fix += " or set --gradient-clip"
            more = ", copy to the target network less often (--target-every) or try --double"
        if not np.isfinite(update.loss):
            raise InputError(f"the loss became {update.loss} {where}: {fix}")
        # Twice the limit, as Q-values may overshoot for a while, and 10, as a new network's first guesses are not 0.
        if abs(update.q_mean) > 2 * self.q_limit + 10:
            raise InputError(
                f"Q-values average {update.q_mean:,.1f} {where}: rewards up to {self._largest_reward:g} and "
                f"--discount {config.discount:g} allow at most {self.q_limit:,.1f}. They ran away: {fix}{more}"
            )

    def get_state(self) -> dict[str, Any]:
        """Save the largest reward."""
        return {"largest_reward": self._largest_reward}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved."""
        self._largest_reward = float(state["largest_reward"])
