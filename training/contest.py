"""The contest for the best model: where returns are noisy, more episodes decide it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from environments.spaces import check_like
from training.agents import Agent

MOST = 8  # models in the contest
LARGEST = 2**26  # bytes of a model's weights: larger ones are not kept, so that their evaluations alone decide
NEAR_ENOUGH = 1_000  # a difference within the standard error of the mean of this many episodes does not matter

# Plays so many episodes with the agent's present weights, from the start of this number on: float64 (episodes,).
Play = Callable[[int, int], np.ndarray]


@dataclass(frozen=True, eq=False)
class Contender:
    """A model that may be the best.

    Attributes:
        episode: played in training when it was evaluated.
        weights: the agent's; empty if they are too large to keep.
        scores: of greedy play.
        returns: float64 (n,), of greedy play from starts 0 to n - 1, the same for all contenders.
    """

    episode: int
    weights: list[np.ndarray]
    scores: dict[str, float]
    returns: np.ndarray

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())


class Contest:
    """Keeps the models that may be the best, and in the end lets them play on until it is clear which one is.

    The leader is the contender with the highest mean return. The others are compared with it, start by start:

    - One that is more than two standard errors (of the mean difference) below the leader is out.
    - One that is not, where two standard errors are too small to matter, is the leader's equal. Of equals the one
      trained longest is the best: late in a run of Blob, models differ in a few starts of a hundred thousand, and no
      affordable number of starts tells them apart.
    - Between the leader and any other, more episodes must decide. Until then the leader is the best.

    Args:
        agent: its weights are the models.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._contenders: list[Contender] = []  # in the order of training

    @property
    def best(self) -> Contender:
        """The best model so far; one must have entered."""
        return self._equals()[-1]

    @property
    def is_open(self) -> bool:
        """Whether more episodes must decide. Twice `NEAR_ENOUGH` are enough: a difference of two means, which has twice
        the variance of one, is then as exact as the mean of `NEAR_ENOUGH`. Blob's evaluations have as many."""
        if len(self._equals()) == len(self._contenders) or not all(each.weights for each in self._contenders):
            return False
        return len(self._contenders[0].returns) < 2 * NEAR_ENOUGH

    def enter(self, episode: int, scores: dict[str, float], returns: np.ndarray) -> bool:
        """Let the agent take part as it is now. Returns whether it is the best so far.

        Args:
            episode: played in training.
            scores: of its greedy evaluation.
            returns: float64 (n,), of that evaluation.
        """
        weights = self._agent.get_weights()
        if sum(array.nbytes for array in weights) > LARGEST:
            weights = []
        newcomer = Contender(episode, weights, scores, returns)
        self._contenders.append(newcomer)
        self._drop_losers()
        return self.best is newcomer

    def decide(self, play: Play, budget: int) -> Contender:
        """Let the contenders play on, all from the same fresh starts, until it is clear which one is the best.

        A round doubles everybody's episodes. Where the budget does not reach for that, the lower half leaves after
        every round, so that the better ones get more of it (sequential halving, Karnin et al. 2013).

        Args:
            play: see `Play`. What it raises passes through.
            budget: the most episodes, of all contenders together.

        Returns:
            The best.
        """
        while self.is_open:
            count, played = len(self._contenders), len(self._contenders[0].returns)
            rounds = (count - 1).bit_length()  # until one is left, if each round halves them
            share = budget // (rounds * count)
            episodes = min(played, share)
            if not episodes:
                break
            self._contenders = [self._play_on(each, play, episodes) for each in self._contenders]
            budget -= episodes * count
            if episodes == share:
                self._keep(sorted(self._contenders, key=lambda each: each.mean)[count // 2 :])
            self._drop_losers()
        return self.best

    def _play_on(self, contender: Contender, play: Play, episodes: int) -> Contender:
        with self.lend_weights(contender):
            returns = np.concatenate([contender.returns, play(episodes, len(contender.returns))])
        statistics = {"avg": returns.mean(), "std": returns.std(), "min": returns.min(), "max": returns.max()}
        scores = {name: float(value) for name, value in statistics.items()}
        scores = {**contender.scores, **scores, "episodes": float(len(returns))}
        scores.pop("possible", None)  # from fewer starts
        return dataclasses.replace(contender, scores=scores, returns=returns)

    @contextlib.contextmanager
    def lend_weights(self, contender: Contender) -> Iterator[None]:
        """Give the agent a contender's weights, for the time of the block."""
        own = self._agent.get_weights()
        self._agent.set_weights(contender.weights)
        try:
            yield
        finally:
            self._agent.set_weights(own)

    def _leader(self) -> Contender:
        return max(reversed(self._contenders), key=lambda each: each.mean)  # the latest of several

    def _equals(self) -> list[Contender]:
        """The leader and its equals, in the order of training."""
        leader = self._leader()
        matters = leader.returns.std() / np.sqrt(NEAR_ENOUGH)

        def is_equal(each: Contender) -> bool:
            below, error = _gap(each, leader)
            return each is leader or below <= error <= matters

        return [each for each in self._contenders if is_equal(each)]

    def _drop_losers(self) -> None:
        """Keep the leader and the best, and of those about which more episodes must decide the `MOST` highest."""
        leader, equals = self._leader(), self._equals()
        others = [each for each in self._contenders if each not in equals]
        open_ones = [each for each in others if np.less_equal(*_gap(each, leader))]
        open_ones.sort(key=lambda each: -each.mean)
        kept = [leader] if leader is equals[-1] else [leader, equals[-1]]
        self._keep([*kept, *open_ones][:MOST])

    def _keep(self, kept: list[Contender]) -> None:
        self._contenders = [each for each in self._contenders if each in kept]

    def get_state(self) -> dict[str, Any]:
        """Save the contenders."""
        return {"contenders": [vars(each) for each in self._contenders]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved.

        Raises:
            ValueError: it is of another agent.
        """
        self._contenders = [Contender(**values) for values in state["contenders"]]
        needed = self._agent.get_weights()
        for contender in self._contenders:
            check_like("returns", contender.returns, self._contenders[0].returns)
            for array, own in zip(contender.weights, needed if contender.weights else [], strict=True):
                check_like("the weights of a contender", array, own)


def _gap(contender: Contender, leader: Contender) -> tuple[float, float]:
    """How far a contender's mean return is below the leader's, and two standard errors of this difference."""
    shortfall = leader.returns - contender.returns
    return float(shortfall.mean()), float(2 * shortfall.std() / np.sqrt(len(shortfall)))
