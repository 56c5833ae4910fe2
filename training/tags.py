"""The tags of curves and pictures that other modules name, and the charts that show them."""

from __future__ import annotations

from typing import Literal, NamedTuple


def tag(name: str) -> str:
    """Return the tag of a value in a window's logs: "reward_avg" becomes "reward/avg", "loss" becomes "run/loss"."""
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if group in ("reward", "greedy", "see") else f"run/{name}"


REWARD_AVG, REWARD_MIN, REWARD_MAX = tag("reward_avg"), tag("reward_min"), tag("reward_max")
GREEDY_AVG, GREEDY_OPTIMUM, GREEDY_RANDOM = tag("greedy_avg"), tag("greedy_optimum"), tag("greedy_random")
EPISODE_LENGTH, STEPS, UPDATES = tag("episode_length"), tag("steps"), tag("updates")
EPSILON, LOSS, STEPS_PER_SECOND = tag("epsilon"), tag("loss"), tag("steps_per_second")
Q_MEAN, Q_MAX, Q_LIMIT = tag("q_mean"), tag("q_max"), tag("q_limit")
DEAD_UNITS, EFFECTIVE_RANK, Q_SPREAD = tag("dead_units"), tag("effective_rank"), tag("q_spread")
PERCENT_OF_OPTIMUM = tag("percent_of_optimum")
SEE_POLICY, SEE_START, SEE_WORST = tag("see_policy"), tag("see_start"), tag("see_worst")
SEE_UNTRAINED = tag("see_untrained")


# Names in the logs of some windows only: Keras's callbacks wait for a number that is missing, and take a nan for one.
SOMETIMES = (
    *("loss", "q_mean", "q_max"),  # of windows with an update
    *("evaluation", "greedy_avg", "greedy_min", "greedy_max", "greedy_overestimation"),  # with an evaluation
)


class Chart(NamedTuple):
    """Curves that are drawn together.

    Attributes:
        title: the text above the chart.
        tags: the curves. Those of a band are its middle, its lower and its upper edge.
        kind: how they are drawn.
    """

    title: str
    tags: tuple[str, ...]
    kind: Literal["band", "lines"] = "lines"


# In reading order: the returns first, then what explains them.
CHARTS = (
    Chart("reward of training: average, minimum to maximum", (REWARD_AVG, REWARD_MIN, REWARD_MAX), "band"),
    # Not the lowest and the highest: one bad start of thousands would look like a collapse.
    Chart("reward of greedy play, and the best possible from the same starts", (GREEDY_AVG, GREEDY_OPTIMUM)),
    Chart("percent of the optimum", (PERCENT_OF_OPTIMUM,)),
    Chart("epsilon", (EPSILON,)),
    Chart("loss", (LOSS,)),
    Chart("Q-values, and what rewards and discount allow", (Q_MEAN, Q_MAX, Q_LIMIT)),
    Chart("dead units and effective rank, as shares", (DEAD_UNITS, EFFECTIVE_RANK)),
    Chart("steps per second", (STEPS_PER_SECOND,)),
)
