"""Trains every tuned environment with five seeds that were not used for tuning, and scores the best models over 100
greedy episodes: python -m experiments.environments_table"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from config import Config
from console.arguments import at_least, check_writable, make_parser
from console.errors import exit_on_bad_input
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from environments.make import make_env
from experiments.ablation import Row, append, in_own_process, read

# The best published DQN, in Stable-Baselines3's zoo, scores 500, -76.6, -100.8 and 154.4 in the first four. The last
# three are solved when every episode is played optimally.
GOALS: dict[str, str] = {
    "CartPole-v1": "500, deviation 0",
    "Acrobot-v1": "above -76",
    "MountainCar-v0": "above -100",
    "LunarLander-v3": "above 200",
    "FrozenLake-v1": "the optimum",
    "Taxi-v4": "the optimum",
    "CliffWalking-v1": "the optimum",
}
COLUMNS = ("env", "seed", "steps", "seconds", "mean", "std", "min", "max", "optimum")
# The results of 201 to 205 were looked at while these two were tuned.
FIRST_SEED = {"CartPole-v1": 206, "LunarLander-v3": 206}
FIRST_OF_OTHERS = 201
EPISODES, SCORE_SEED = 100, 1  # in a lane each, seeded 1 to 100, as in `evaluate.py`


def train_once(env: str, seed: int) -> Row:
    """Train with the environment's preset in this process, and score the best model.

    Returns:
        A row of the table. `seconds` are those of the training, evaluations included; `optimum` is the mean return of
        optimal play from the same starts, or "" if it is not known.
    """
    import_tensorflow()
    from storage.loading import load_q_values, make_saved_env
    from storage.model_file import read_model
    from storage.trust import untrusted_settings
    from train import train
    from training.greedy_play import make_evaluation_lanes, play_greedily

    with tempfile.TemporaryDirectory() as folder:
        config = Config.from_preset(env=env, seed=seed, models_dir=f"{folder}/models", logs_dir=f"{folder}/logs")
        began = time.perf_counter()
        run = train(config)
        seconds = time.perf_counter() - began
        assert run.best
        saved = read_model(run.best.path, untrusted_settings(config))
        q_values = load_q_values(saved, make_saved_env(saved))
    with make_evaluation_lanes(config, EPISODES, most=EPISODES) as envs:
        returns = play_greedily(envs, q_values, EPISODES, SCORE_SEED, config).returns
    optimum = optimal_mean(config)
    scores = returns.mean(), returns.std(), returns.min(), returns.max()
    numbers = [float(score) for score in scores]
    return dict(zip(COLUMNS, (env, seed, run.steps, seconds, *numbers, optimum), strict=True))


def optimal_mean(config: Config) -> float | str:
    """Compute the mean return of optimal play from the starts that are scored.

    It takes value iteration over `P`, the table of transitions that toy text environments have. Their step limits do
    not matter: optimal play ends earlier.

    Returns:
        The mean; "" for environments without such a table.
    """
    env: Any = make_env(config)
    table = getattr(env.unwrapped, "P", None)
    if table is None:
        return ""
    values = np.zeros(len(table))
    for _ in range(200):  # more steps than any episode takes
        values = np.array(
            [
                max(
                    sum(p * (r + values[after] * (not ended)) for p, after, r, ended in outcomes)
                    for outcomes in of.values()
                )
                for of in table.values()
            ]
        )
    starts = [env.reset(seed=SCORE_SEED + episode)[0] for episode in range(EPISODES)]
    return float(values[starts].mean())


def train_all(envs: Sequence[str], seeds: int, results: Path) -> None:
    """Train in every environment with every seed, one run after another, each in its own process.

    Each row is added to the CSV file when its run ends. Runs that are already there are skipped.
    """
    done = {(row["env"], int(row["seed"])) for row in read(results)} if results.exists() else set()
    for env in envs:
        first = FIRST_SEED.get(env, FIRST_OF_OTHERS)
        for seed in range(first, first + seeds):
            if (env, seed) in done:
                print(f"{env}, seed {seed}: is in {results} already", flush=True)
                continue
            row = in_own_process(train_once, env, seed)
            append(results, COLUMNS, [row])
            print(f"{env}, seed {seed}: {row['mean']:.2f} +- {row['std']:.2f}, {row['seconds']:.0f} s", flush=True)


def markdown_table(rows: Sequence[Row]) -> str:
    """Tabulate the environments in Markdown: the mean of each seed, the mean over seeds, and the goal."""
    lines = ["| environment | steps | greedy mean of each seed | mean | goal | seconds |", "|---|---|---|---|---|---|"]
    for env, goal in GOALS.items():
        mine = [row for row in rows if row["env"] == env]
        if not mine:
            continue
        means = [float(row["mean"]) for row in mine]
        optima = {float(row["optimum"]) for row in mine if row["optimum"] != ""}
        goal += f" ({optima.pop():.2f})" if optima else ""
        steps, seconds = (np.mean([float(row[column]) for row in mine]) for column in ("steps", "seconds"))
        cells = [env, f"{steps:,.0f}", ", ".join(f"{mean:.2f}" for mean in means), f"{np.mean(means):.2f}", goal]
        lines.append(f"| {' | '.join(cells)} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--envs", nargs="+", choices=GOALS, default=list(GOALS), metavar="ID")
    parser.add_argument(
        "--seeds", type=at_least(1), default=5, help="number of seeds, from 201 or 206 on (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("logs/environments"),
        help="folder; runs that are in its environments.csv are skipped (default: %(default)s)",
    )
    arguments = parser.parse_args()
    results = arguments.out / "environments.csv"
    with exit_on_bad_input():
        check_writable("--out", str(arguments.out))
        train_all(arguments.envs, arguments.seeds, results)
    print(markdown_table(read(results)))


if __name__ == "__main__":
    main()
