"""What looks wrong with a training run, in plain words: `python doctor.py logs/RUN`"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from config import Config
from console.arguments import make_parser
from console.errors import InputError, exit_on_bad_input
from console.signals import end_quietly
from console.tensorflow_import import import_tensorflow
from reports.curves import Curves, RunLog, read_run

NONE = np.zeros(0)


def no_episode(config: Config, curves: Curves) -> str | None:
    """A run that is too short to have a window."""
    if "reward/avg" in curves:
        return None
    return "no window of episodes ended, so nothing is known: let it run longer, or set --max-episode-steps"


def never_learned(config: Config, curves: Curves) -> str | None:
    """A warm-up that lasts for the whole run."""
    steps = curves.get("run/steps", NONE)
    if not len(steps) or curves["run/updates"][-1]:
        return None
    return (
        f"it never learned: in {steps[-1]:,.0f} steps no update was made, since the memory must hold --learn-start "
        f"{config.learn_start:,} transitions first: lower it or play longer"
    )


def small_memory(config: Config, curves: Curves) -> str | None:
    """A memory of a few episodes: what is learned of one is forgotten in the next."""
    lengths = curves.get("run/episode_length", NONE)
    if not len(lengths) or config.method != "dqn":
        return None
    episodes = config.memory_size / np.mean(lengths)
    if episodes >= 20:
        return None
    return (
        f"the memory is too small: --memory-size {config.memory_size:,} holds {episodes:.1f} episodes, so that it "
        "unlearns what it does not see at the moment: raise it"
    )


def still_exploring(config: Config, curves: Curves) -> str | None:
    """An epsilon that never fell."""
    epsilon = curves.get("run/epsilon", NONE)
    # Q-learning over a table may learn the best play from random play; whether it did, others ask.
    if not len(epsilon) or epsilon[-1] <= 0.8 or config.method in ("q-learning", "q-lambda"):
        return None
    how = "--epsilon-decay" if config.epsilon_schedule == "episodes" else "--epsilon-steps"
    return (
        f"epsilon never fell: it is still {epsilon[-1]:.2f}, so that nearly all actions are random: lower {how} or "
        f"--epsilon-min, or play longer"
    )


def q_ran_away(config: Config, curves: Curves) -> str | None:
    """Q-values beyond what rewards and discount allow (`Run.end_window` says what that is)."""
    q, limit = curves.get("run/q_mean", NONE), curves.get("run/q_limit", NONE)
    # A new network starts somewhere, even where no reward has been met.
    if not (len(q) and len(limit)) or abs(q[-1]) <= limit[-1] + 10:
        return None
    return (
        f"Q-values ran away: they average {q[-1]:,.1f}, but the rewards so far and --discount {config.discount} allow "
        f"at most {limit[-1]:,.1f}: lower --learning-rate {config.learning_rate:g}, set --gradient-clip, copy to the "
        "target network more seldom (--target-every), or try --double"
    )


def _random_level(config: Config, curves: Curves) -> tuple[float, float] | None:
    """Mean return of the windows played almost at random, and about two standard errors of it."""
    epsilon, averages = curves.get("run/epsilon", NONE), curves.get("reward/avg", NONE)
    at_random = epsilon > 0.9
    if not at_random.any():
        return None
    spans = (curves["reward/max"] - curves["reward/min"])[at_random]
    # Of a few dozen draws the span is about four standard deviations.
    errors = 2 * spans.mean() / 4 / np.sqrt(config.aggregate_every * at_random.sum())
    return float(averages[at_random].mean()), float(errors)


def stuck_at_random(config: Config, curves: Curves) -> str | None:
    """Updates were made, and greedy play is no better than random play."""
    level, greedy = _random_level(config, curves), curves.get("greedy/avg", NONE)
    if level is None or not len(greedy) or not curves["run/updates"][-1] or greedy.max() > sum(level):
        return None
    return (
        f"the return is stuck at the random level: greedy play reached {greedy.max():.1f} at best, random play "
        f"{level[0]:.1f}: play longer, learn more often (--learn-every {config.learn_every}), try another "
        "--learning-rate or --n-step, or look whether random play ever meets a reward"
    )


def collapsed(config: Config, curves: Curves) -> str | None:
    """Greedy play that was good and is so no longer."""
    level, greedy = _random_level(config, curves), curves.get("greedy/avg", NONE)
    if level is None or not len(greedy) or greedy.max() <= sum(level):
        return None
    if greedy.max() - greedy[-1] <= 0.5 * (greedy.max() - level[0]):
        return None
    return (
        f"it collapsed: greedy play reached {greedy.max():.1f} and is back at {greedy[-1]:.1f} (random play "
        f"{level[0]:.1f}); the best model is kept. Lower --learning-rate, raise --memory-size or --target-every"
    )


def unfinished(config: Config, curves: Curves) -> str | None:
    """A run that was interrupted."""
    steps = curves.get("run/steps", NONE)
    if not len(steps):
        return None
    total, unit = (config.steps, "steps") if config.steps else (config.episodes, "episodes")
    done = steps[-1] if config.steps else curves["episodes"][-1]
    if done >= total or curves["episodes"][-1] >= config.episodes:
        return None
    return f"it was not finished: {done:,.0f} of {total:,} {unit}; python train.py --resume goes on"


DIAGNOSES: tuple[Callable[[Config, Curves], str | None], ...] = (
    no_episode,
    unfinished,
    never_learned,
    still_exploring,
    small_memory,
    q_ran_away,
    stuck_at_random,
    collapsed,
)


def diagnose(log: RunLog) -> list[str]:
    """What looks wrong, worst guesses last; empty if nothing does."""
    if log.stopped:
        return [f"it stopped itself: {log.stopped}"]
    return [text for diagnosis in DIAGNOSES if (text := diagnosis(log.config, log.curves))]


def main() -> None:
    """The command line."""
    end_quietly()
    parser = make_parser("Say in plain words what looks wrong with a training run.")
    parser.add_argument("run", type=Path, help="the run's log folder")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        if not arguments.run.is_dir():
            raise InputError(f"there is no folder {arguments.run}")
        import_tensorflow()
        findings = diagnose(read_run(arguments.run))
    print("\n".join(f"- {finding}" for finding in findings) or "nothing looks wrong")
