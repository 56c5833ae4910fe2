"""Kuhn poker, the smallest poker there is, as an environment of your own: python train.py --env
examples.kuhn_poker:KuhnPoker"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Dict, Discrete

FOLD, CHECK, BET = range(3)  # to bet after a bet is to call it
JACK, QUEEN, KING = range(3)
OPENING, CHECKED_TO, BET_TO, CHECKED_AND_BET_TO = range(4)  # what the player has to answer
CARDS = ("jack", "queen", "king")
SITUATIONS = ("nothing yet", "a check", "a bet", "a bet after the own check")
LEGAL = {
    OPENING: (CHECK, BET),
    CHECKED_TO: (CHECK, BET),
    BET_TO: (FOLD, BET),
    CHECKED_AND_BET_TO: (FOLD, BET),
}
# The opponent's chances to bet where nobody has, and to call a bet, by its card. It bluffs with every second jack.
OPPONENT_BETS = {JACK: 0.5, QUEEN: 0.0, KING: 1.0}
OPPONENT_CALLS = {JACK: 0.0, QUEEN: 0.75, KING: 1.0}


class KuhnPoker(gym.Env):
    """One hand of Kuhn poker (Kuhn 1950) against an opponent with habits.

    ## Description
    Both put one chip into the pot and get a card of jack, queen and king. The first to act, player or opponent by
    chance, checks or bets a chip; whoever is bet to folds or calls. The higher card takes the pot. The best answer to
    this opponent's habits wins 1/12 chip a hand: bet the king, never the jack, and call its bets with the queen.

    ## Action Space
    `Discrete(3)`: fold, check, bet. `info["action_mask"]`, int8 (3,), says which are legal.

    ## Observation Space
    `Dict`: `card`, 0 to 2 for jack, queen and king, and `to_answer`: nothing yet, a check, a bet, or a bet after the
    player's own check.

    ## Rewards
    The chips won or lost, at the hand's end: -2 to 2.

    ## Episode End
    Terminated when the hand is over.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space = Dict(card=Discrete(3), to_answer=Discrete(4))
        self.action_space = Discrete(3)
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.int64], dict[str, Any]]:
        """Deal, and let the opponent act if it is the first."""
        super().reset(seed=seed)
        self._card, self._other = self.np_random.permutation(3)[:2].tolist()
        self._to_answer = OPENING
        if self.np_random.random() < 0.5:
            self._to_answer = BET_TO if self._chance(OPPONENT_BETS) else CHECKED_TO
        return self._observation(), self._info()

    def step(self, action: int) -> tuple[dict[str, np.int64], float, bool, bool, dict[str, Any]]:
        """Fold, check or bet."""
        if action not in LEGAL[self._to_answer]:
            raise ValueError(f"action {action} is not legal here, {LEGAL[self._to_answer]} are")
        showdown = 1.0 if self._card > self._other else -1.0
        if self._to_answer == OPENING and action == CHECK and self._chance(OPPONENT_BETS):
            self._to_answer = CHECKED_AND_BET_TO
            return self._observation(), 0.0, False, False, self._info()
        if action == FOLD:
            reward = -1.0
        elif action == CHECK:
            reward = showdown
        elif self._to_answer in (BET_TO, CHECKED_AND_BET_TO) or self._chance(OPPONENT_CALLS):
            reward = 2 * showdown
        else:
            reward = 1.0  # the opponent folds
        return self._observation(), reward, True, False, self._info()

    def render(self) -> str:
        """What the player sees, in words."""
        return f"{CARDS[self._card]} in hand, to answer: {SITUATIONS[self._to_answer]}"

    def _chance(self, habits: dict[int, float]) -> bool:
        return bool(self.np_random.random() < habits[self._other])

    def _observation(self) -> dict[str, np.int64]:
        return {"card": np.int64(self._card), "to_answer": np.int64(self._to_answer)}

    def _info(self) -> dict[str, Any]:
        return {"action_mask": np.isin(range(3), LEGAL[self._to_answer]).astype(np.int8)}
