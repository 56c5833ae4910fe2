"""Find what looks wrong with a run, and say it in plain words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from blob.solver import percent_of_optimum
from console.commands import script
from reports.curves import RunLog
from training.tags import (
    DEAD_UNITS,
    EPISODE_LENGTH,
    EPSILON,
    GREEDY_AVG,
    GREEDY_OPTIMUM,
    GREEDY_RANDOM,
    Q_LIMIT,
    Q_MAX,
    Q_MEAN,
    Q_SPREAD,
    REWARD_AVG,
    REWARD_MAX,
    REWARD_MIN,
    STEPS,
    UPDATES,
)  # fmt: skip

FEW_EVALUATIONS = 4  # say nothing about a trend
STILL_IMPROVING = 0.8  # a gain in the last fifth of the run


def no_episode(log: RunLog) -> str | None:
    """Find a run too short to have a window."""
    if REWARD_AVG in log.curves:
        return None
    return "no window of episodes ended, so nothing is known: let it run longer, or set --max-episode-steps"


def unfinished(log: RunLog) -> str | None:
    """Find a run that was interrupted."""
    steps, config = log.curve(STEPS), log.config
    if not len(steps) or log.finished:
        return None
    episodes = log.episodes[STEPS][-1]
    done, total, unit = (steps[-1], config.steps, "steps") if config.steps else (episodes, config.episodes, "episodes")
    if done >= total or episodes >= config.episodes:
        return None
    return (
        f"it was not finished: {done:,.0f} of {total:,} {unit}; "
        f"{script('train.py', '--resume', str(log.folder))} continues it"
    )


def never_learned(log: RunLog) -> str | None:
    """Find a warm-up that lasted for the whole run."""
    steps = log.curve(STEPS)
    if not len(steps) or log.curves[UPDATES][-1]:
        return None
    return (
        f"it never learned: in {steps[-1]:,.0f} steps no update was made, because the memory must first hold "
        f"--learn-start {log.config.learn_start:,} transitions: lower it or train longer"
    )


def still_exploring(log: RunLog) -> str | None:
    """Find an epsilon that hardly fell."""
    epsilon, config = log.curve(EPSILON), log.config
    # Q-learning with a table can learn optimal play from random play. Other findings tell whether it did.
    if not len(epsilon) or epsilon[-1] <= 0.8 or config.method in ("q-learning", "q-lambda"):
        return None
    flag = "--epsilon-decay" if config.epsilon_schedule == "episodes" else "--epsilon-steps"
    return (
        f"epsilon is still {epsilon[-1]:.2f}, so nearly all actions are random: lower {flag} or "
        "--epsilon-min, or train longer"
    )


def small_memory(log: RunLog) -> str | None:
    """Find a replay memory of only a few episodes, in which the agent forgets one while it learns from the next."""
    lengths, config = log.curve(EPISODE_LENGTH), log.config
    if not len(lengths) or config.method != "dqn":
        return None
    episodes = config.memory_size / np.mean(lengths)
    if episodes >= 20:
        return None
    return (
        f"the memory is too small: --memory-size {config.memory_size:,} holds {episodes:.1f} episodes, so the agent "
        "forgets what it has not seen lately: raise it"
    )


def q_ran_away(log: RunLog) -> str | None:
    """Find Q-values beyond the limit that rewards and discount set."""
    q, limit, config = log.curve(Q_MEAN), log.curve(Q_LIMIT), log.config
    # The 10 allow for a new network's first guesses, when there has been no reward yet.
    if not (len(q) and len(limit)) or abs(q[-1]) <= limit[-1] + 10:
        return None
    return (
        f"Q-values ran away: they average {q[-1]:,.1f}, but the rewards so far and --discount {config.discount} allow "
        f"at most {limit[-1]:,.1f}: lower --learning-rate {config.learning_rate:g}, set --gradient-clip, copy to the "
        "target network less often (raise --target-every), or try --double"
    )


def beyond_the_atoms(log: RunLog) -> str | None:
    """Find returns too large for C51, whose Q-values then press against the end of its range."""
    q, config = log.curve(Q_MAX), log.config
    if config.loss != "c51" or not len(q) or q[-1] < 0.95 * config.v_max:
        return None
    return (
        f"returns are too large for --loss c51: Q-values reach {q[-1]:.1f}, and it knows none above --v-max "
        f"{config.v_max:g}: raise that, or take --loss qr, which has no limit"
    )


def constant_q(log: RunLog) -> str | None:
    """Find Q-values that no longer depend on the observation, but for rounding."""
    spread, q, dead = log.curve(Q_SPREAD), log.curve(Q_MEAN), log.curve(DEAD_UNITS)
    if not (len(spread) and len(q) and log.curves[UPDATES][-1]) or spread[-1] > 1e-5 * abs(q[-1]):
        return None
    share = f"{dead[-1]:.0%} of its units are dead, 0 for every observation: " if len(dead) else ""
    return (
        f"the network is blind: its Q-values are the same whatever it sees ({share}lower --learning-rate "
        f"{log.config.learning_rate:g}, set --gradient-clip, or try another --network)"
    )


def _random_level(log: RunLog) -> tuple[float, float] | None:
    """Return the mean return of nearly random play and about two standard errors of it; None without such windows."""
    epsilon, averages = log.curve(EPSILON), log.curve(REWARD_AVG)
    is_random = epsilon > 0.9
    if not is_random.any():
        return None
    spans = (log.curves[REWARD_MAX] - log.curves[REWARD_MIN])[is_random]
    # The span of a few dozen draws is about four standard deviations.
    counts = np.diff(log.episodes[REWARD_AVG], prepend=0)[is_random]
    errors = 2 * spans.mean() / 4 / np.sqrt(counts.sum())
    return float(averages[is_random].mean()), float(errors)


def stuck_at_random(log: RunLog) -> str | None:
    """Find greedy play that never got better than random play in spite of updates."""
    level, greedy = _random_level(log), log.curve(GREEDY_AVG)
    if level is None or not len(greedy) or not log.curves[UPDATES][-1] or greedy.max() > sum(level):
        return None
    return (
        f"the return is stuck at the random level: greedy play reached {greedy.max():.1f} at best, random play "
        f"{level[0]:.1f}: train longer, learn more often (--learn-every {log.config.learn_every}), try another "
        "--learning-rate or --n-step, or check that random play ever finds a reward"
    )


def collapsed(log: RunLog) -> str | None:
    """Find greedy play that was good once and no longer is."""
    level, greedy = _random_level(log), log.curve(GREEDY_AVG)
    if level is None or not len(greedy) or greedy.max() <= sum(level):
        return None
    if greedy.max() - greedy[-1] <= 0.5 * (greedy.max() - level[0]):
        return None
    return (
        f"it collapsed: greedy play reached {greedy.max():.1f} and is back at {greedy[-1]:.1f} (random play "
        f"{level[0]:.1f}); the best model is kept. Lower --learning-rate, or raise --memory-size or --target-every"
    )


# Later ones are more of a guess.
CHECKS: tuple[Callable[[RunLog], str | None], ...] = (
    no_episode,
    unfinished,
    never_learned,
    still_exploring,
    small_memory,
    q_ran_away,
    beyond_the_atoms,
    constant_q,
    stuck_at_random,
    collapsed,
)


def find_problems(log: RunLog) -> list[str]:
    """Return a sentence for each thing that looks wrong, the surest first; none if nothing does."""
    if log.stopped:
        return [f"it stopped itself: {log.stopped}"]
    return [text for check in CHECKS if (text := check(log))]


def verdict(log: RunLog) -> str:
    """Say how a run went of which nothing looks wrong: how good it is, and whether it was still improving."""
    greedy, optimum = log.curve(GREEDY_AVG), log.curve(GREEDY_OPTIMUM)
    if not len(greedy):
        return "nothing looks wrong; no greedy evaluation has said how good it is"
    level = f"nothing looks wrong: greedy play earned {greedy[-1]:.2f}"
    if len(optimum):
        random = log.curve(GREEDY_RANDOM)[-1]
        level += f" of {optimum[-1]:.2f} possible, {percent_of(greedy[-1], random, optimum[-1])} of the optimum"
    if len(greedy) < FEW_EVALUATIONS:
        return level
    # Looks have other starts than evaluations, from which another return is possible.
    quality = greedy - optimum if len(optimum) == len(greedy) else greedy
    # A gain that matters is a hundredth of all that was gained: what is less may be noise.
    gained = quality.max() - quality.min()
    episodes = log.episodes[GREEDY_AVG]
    first_good = episodes[np.argmax(quality >= quality.max() - 0.01 * gained)]
    if not gained:
        return f"{level}; nothing was gained since episode {int(episodes[0]):,}"
    if first_good >= episodes[-1] * STILL_IMPROVING:
        return f"{level}; it was still improving: train longer"
    return f"{level}; 99% of what it gained it had by episode {int(first_good):,}"


def percent_of(earned: float, random: float, optimum: float) -> str:
    """Where a return lies between random play, 0%, and optimal play, 100%, which only that reads as."""
    percent = percent_of_optimum(earned, random, optimum)
    return f"{percent if percent >= 100 else min(percent, 99.99):.2f}%"
