"""The tags of curves and pictures that other modules name, and the charts that show them."""

from __future__ import annotations

from typing import NamedTuple

LOOK = "look_"  # begins the names of numbers from a look, which no callback should take for an evaluation's


def tag(name: str) -> str:
    """Return the tag of a value in a window's logs: "reward_avg" becomes "reward/avg", "loss" becomes "run/loss".

    A look at greedy play is a point of the same curve as an evaluation.
    """
    name = name.removeprefix(LOOK)
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if group in ("reward", "greedy", "see") else f"run/{name}"


REWARD_AVG, REWARD_MIN, REWARD_MAX = tag("reward_avg"), tag("reward_min"), tag("reward_max")
GREEDY_AVG, GREEDY_OPTIMUM, GREEDY_RANDOM = tag("greedy_avg"), tag("greedy_optimum"), tag("greedy_random")
EPISODE_LENGTH, STEPS, UPDATES = tag("episode_length"), tag("steps"), tag("updates")
EPSILON, LOSS, STEPS_PER_SECOND = tag("epsilon"), tag("loss"), tag("steps_per_second")
Q_MEAN, Q_MAX, Q_LIMIT = tag("q_mean"), tag("q_max"), tag("q_limit")
DEAD_UNITS, EFFECTIVE_RANK, Q_SPREAD = tag("dead_units"), tag("effective_rank"), tag("q_spread")
MISSING = tag("missing")
SEE_POLICY, SEE_START, SEE_WORST = tag("see_policy"), tag("see_start"), tag("see_worst")
SEE_UNTRAINED = tag("see_untrained")


GREEDY = ("greedy_avg", "greedy_min", "greedy_max", "greedy_overestimation")  # of an evaluation
# Names in the logs of some windows only: Keras's callbacks wait for a number that is missing, and take a nan for one.
SOMETIMES = (
    *("loss", "q_mean", "q_max"),  # of windows with an update
    *("evaluation", *GREEDY),  # with an evaluation
    *(LOOK + name for name in GREEDY),  # with a look at greedy play
)


class Chart(NamedTuple):
    """Curves that are drawn together.

    Attributes:
        title: the text above the chart.
        tags: the curves.
    """

    title: str
    tags: tuple[str, ...]


# In reading order: the returns first, then what explains them.
CHARTS = (
    # Not the lowest and the highest: one bad start of thousands would look like a collapse.
    Chart("reward of training, of the lanes that explore least", (REWARD_AVG,)),
    Chart("reward of greedy play, and the best possible from the same starts", (GREEDY_AVG, GREEDY_OPTIMUM)),
    # 99.9% and 99.999% would be one line.
    Chart("missing to 100% of the optimum, as a power of ten: 2 is random play, -4 nothing", (MISSING,)),
    Chart("epsilon", (EPSILON,)),
    Chart("loss", (LOSS,)),
    Chart("Q-values: mean and maximum", (Q_MEAN, Q_MAX)),
    Chart("dead units and effective rank, as shares", (DEAD_UNITS, EFFECTIVE_RANK)),
    Chart("steps per second", (STEPS_PER_SECOND,)),
)
