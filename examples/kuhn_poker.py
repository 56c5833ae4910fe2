"""An example of your own environment, Kuhn poker: python train.py --env examples.kuhn_poker:KuhnPoker"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Dict, Discrete

from examples.opponents import Opponent

FOLD, CHECK, BET = range(3)  # betting after a bet is calling it
JACK, QUEEN, KING = range(3)
OPENING, CHECKED_TO, BET_TO, CHECKED_AND_BET_TO = range(4)  # the values of `to_answer`
CARDS = ("jack", "queen", "king")
SITUATIONS = ("nothing yet", "a check", "a bet", "a bet after your own check")
LEGAL = {
    OPENING: (CHECK, BET),
    CHECKED_TO: (CHECK, BET),
    BET_TO: (FOLD, BET),
    CHECKED_AND_BET_TO: (FOLD, BET),
}
FIXED = "fixed"  # the opponent with these probabilities, by its card, of betting first and of calling a bet
OPPONENT_BETS = {JACK: 0.5, QUEEN: 0.0, KING: 1.0}  # it bluffs with every second jack
OPPONENT_CALLS = {JACK: 0.0, QUEEN: 0.75, KING: 1.0}


class KuhnPoker(gym.Env):
    """One hand of Kuhn poker, the smallest poker game (Kuhn 1950), by default against a fixed strategy.

    ## Description
    Player and opponent each put one chip into the pot and get one of three cards: jack, queen, king. A coin toss
    decides who acts first. The first checks or bets a chip, and so does the second after a check. After a bet the other
    folds or calls. The higher card takes the pot. The best response to the fixed opponent wins 1/12 chip a hand: bet
    the king, never the jack, and call with the queen.

    ## Action Space
    `Discrete(3)`: fold, check, bet. `info["action_mask"]`, int8 (3,), marks the legal ones.

    ## Observation Space
    `Dict(card=Discrete(3), to_answer=Discrete(4))`: the player's card, 0 to 2 for jack, queen and king, and what it has
    to answer: nothing yet, a check, a bet, or a bet after its own check.

    ## Rewards
    The chips won or lost, at the end of the hand: -2 to 2.

    ## Starting State
    Two cards from a shuffled deck. If the opponent acts first, it has done so.

    ## Episode End
    Terminated when the hand is over.

    ## Arguments
    - `opponent="fixed"`: "fixed", "random", the path of a `.model` file, or of a folder of them (`examples.opponents`).
    - `render_mode=None`: "ansi" (text) or None.

    ## Version History
    - v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}

    def __init__(self, opponent: str = FIXED, render_mode: str | None = None) -> None:
        self.observation_space = Dict(card=Discrete(3), to_answer=Discrete(4))
        self.action_space = Discrete(3)
        self.render_mode = render_mode
        self._opponent = None if opponent == FIXED else Opponent(opponent, self)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.int64], dict[str, Any]]:
        """Deal the cards. If the opponent acts first, it does so now."""
        super().reset(seed=seed)
        self._card, self._other = self.np_random.permutation(3)[:2].tolist()
        self._to_answer = OPENING
        if self._opponent:
            self._opponent.begin(self.np_random)
        if self.np_random.random() < 0.5:
            self._to_answer = BET_TO if self._opponent_bets(OPENING) else CHECKED_TO
        return self._observation(), self._info()

    def step(self, action: int) -> tuple[dict[str, np.int64], float, bool, bool, dict[str, Any]]:
        """Fold, check or bet.

        Raises:
            ValueError: the action is not legal now.
        """
        if action not in LEGAL[self._to_answer]:
            raise ValueError(f"action {action} is not legal here, only {LEGAL[self._to_answer]}")
        showdown = 1.0 if self._card > self._other else -1.0
        answers = BET_TO if self._to_answer == OPENING else CHECKED_AND_BET_TO  # what a bet now is to the opponent
        if self._to_answer == OPENING and action == CHECK and self._opponent_bets(CHECKED_TO):
            self._to_answer = CHECKED_AND_BET_TO
            return self._observation(), 0.0, False, False, self._info()
        if action == FOLD:
            reward = -1.0
        elif action == CHECK:
            reward = showdown
        elif self._to_answer in (BET_TO, CHECKED_AND_BET_TO) or self._opponent_bets(answers):
            reward = 2 * showdown
        else:
            reward = 1.0  # the opponent folded
        return self._observation(), reward, True, False, self._info()

    def render(self) -> str:
        """Describe in words what the player sees."""
        return f"{CARDS[self._card]} in hand, to answer: {SITUATIONS[self._to_answer]}"

    def _opponent_bets(self, to_answer: int) -> bool:
        """Whether the opponent bets, or calls, in its situation."""
        if self._opponent:
            seen = _observation(self._other, to_answer)
            return self._opponent.act(seen, _mask(to_answer), self.np_random) == BET
        probabilities = OPPONENT_BETS if to_answer in (OPENING, CHECKED_TO) else OPPONENT_CALLS
        return bool(self.np_random.random() < probabilities[self._other])

    def _observation(self) -> dict[str, np.int64]:
        return _observation(self._card, self._to_answer)

    def _info(self) -> dict[str, Any]:
        return {"action_mask": _mask(self._to_answer)}


def _observation(card: int, to_answer: int) -> dict[str, np.int64]:
    return {"card": np.int64(card), "to_answer": np.int64(to_answer)}


def _mask(to_answer: int) -> np.ndarray:
    """The legal actions, int8 (3,)."""
    return np.isin(range(3), LEGAL[to_answer]).astype(np.int8)
