"""The example environment: its rules against enumeration, and the agent learns the best response."""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from config import Config
from examples.kuhn_poker import BET, CHECK, FOLD, KuhnPoker
from storage.loading import load_q_values, make_saved_env
from storage.model_file import read_model
from train import train

Policy = dict[tuple[int, int], int]  # (card, to_answer) -> action
BETS = (Fraction(1, 2), Fraction(0), Fraction(1))
CALLS = (Fraction(0), Fraction(3, 4), Fraction(1))


def mean_win(policy: Policy) -> Fraction:
    """Average the chips won in a hand over all deals and all moves of the opponent."""
    total = Fraction(0)
    for mine, other in itertools.permutations(range(3), 2):
        showdown = 1 if mine > other else -1
        bluff, call = BETS[other], CALLS[other]
        answer = {spot: policy[mine, spot] for spot in range(4)}
        bet = call * 2 * showdown + (1 - call)
        against_bet = {spot: -1 if answer[spot] == FOLD else 2 * showdown for spot in (2, 3)}
        first = bet if answer[0] == BET else bluff * against_bet[3] + (1 - bluff) * showdown
        second = bluff * against_bet[2] + (1 - bluff) * (bet if answer[1] == BET else showdown)
        total += (first + second) / 2
    return total / 6


def policies() -> list[Policy]:
    """List all 4,096 policies: two legal actions for every card and situation."""
    spots = list(itertools.product(range(3), range(4)))
    legal = [(CHECK, BET) if spot < 2 else (FOLD, BET) for _, spot in spots]
    return [dict(zip(spots, actions, strict=True)) for actions in itertools.product(*legal)]


# By hand. Acting first, a jack checks and folds: -1. A queen checks and calls: a jack that bluffs half the time pays
# 1/2 * 2 + 1/2 * 1, a king takes 2, on average -1/4. A king bets: a jack folds, 1, a queen folds or calls,
# 1/4 + 3/4 * 2, on average 11/8. Acting second, the jack loses 1, the queen 1/4, and the king wins 3/2 from a jack and
# 7/4 from a queen, on average 13/8. So (-1 - 1/4 + 11/8) / 3 = 1/24 and (-1 - 1/4 + 13/8) / 3 = 1/8, on average 1/12.
BEST = Fraction(1, 12)


def test_the_best_response_wins_as_much_as_the_docstring_says() -> None:
    assert max(map(mean_win, policies())) == BEST
    assert "1/12 chip a hand" in (KuhnPoker.__doc__ or "")


@pytest.mark.parametrize("seed", [0, 1])
def test_random_policies_win_as_much_as_the_enumeration_says(seed: int) -> None:
    generator = np.random.default_rng(seed)
    policy = policies()[int(generator.integers(4096))]
    env = KuhnPoker()
    returns = np.zeros(20_000)
    observation, info = env.reset(seed=seed)
    for hand in range(len(returns)):
        ended = False
        while not ended:
            action = policy[int(observation["card"]), int(observation["to_answer"])]
            assert info["action_mask"][action]
            observation, reward, ended, _, info = env.step(action)
        returns[hand] = reward
        observation, info = env.reset()
    assert abs(returns.mean() - float(mean_win(policy))) < 4 * returns.std() / np.sqrt(len(returns))


def test_an_illegal_action_is_refused() -> None:
    env = KuhnPoker()
    _, info = env.reset(seed=0)
    with pytest.raises(ValueError, match="is not legal here"):
        env.step(int(np.flatnonzero(info["action_mask"] == 0)[0]))


def test_the_agent_learns_the_best_response(tmp_path: Path) -> None:
    config = Config.from_preset(
        env="examples.kuhn_poker:KuhnPoker",
        seed=1,
        steps=6_000,
        epsilon_steps=3_000,
        evaluate_every=6_000,
        aggregate_every=500,
        models_dir=f"{tmp_path}/models",
        logs_dir=f"{tmp_path}/logs",
    )
    best = train(config).best
    assert best
    saved = read_model(best.path, {"env": config.env})
    q_values = load_q_values(saved, make_saved_env(saved))
    policy: Policy = {}
    for card, spot in itertools.product(range(3), range(4)):
        values = q_values({"card": np.array([card], np.int32), "to_answer": np.array([spot], np.int32)})[0]
        legal = [CHECK, BET] if spot < 2 else [FOLD, BET]
        policy[card, spot] = legal[int(values[legal].argmax())]
    assert mean_win(policy) == BEST
