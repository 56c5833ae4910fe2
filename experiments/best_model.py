"""Measures whether a run keeps the best of its models: plays every model that it evaluated, and the one that it kept,
over the same fresh starts: python -m experiments.best_model --env Taxi-v4"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from config import Config
from console.arguments import at_least, make_parser
from console.errors import exit_on_bad_input
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from experiments.ablation import in_own_process

SCORE_SEED = 1  # of the first episode, as in `evaluate.py`: no run is judged from these starts


@dataclass(frozen=True)
class Choice:
    """How good a run's choice was.

    Attributes:
        kept: float64 (episodes,), the returns of the model that the run kept.
        met: float64 (models, episodes), those of every model that it evaluated, from the same starts.
    """

    kept: np.ndarray
    met: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """The returns (episodes,) of the model with the highest mean."""
        return self.met[self.met.mean(axis=1).argmax()]

    @property
    def standard_error(self) -> float:
        """Of the best one's mean."""
        return float(self.best.std() / np.sqrt(len(self.best)))

    @property
    def errors_below(self) -> float:
        """How far the kept model's mean is below the best one's, in its standard errors; 0 if they are the same."""
        below = float(self.best.mean() - self.kept.mean())
        return below / self.standard_error if below else 0.0

    def line(self) -> str:
        """The comparison in one line."""
        means = self.met.mean(axis=1)
        return (
            f"kept {self.kept.mean():.3f}, best of {len(means)} {self.best.mean():.3f} +- {self.standard_error:.3f}, "
            f"last {means[-1]:.3f}, median {np.median(means):.3f}: {self.errors_below:.2f} standard errors below"
        )


def train_once(settings: dict[str, Any], episodes: int) -> Choice:
    """Train in this process, and play all models.

    Args:
        settings: beside those of the preset that suits the environment.
        episodes: to play with each model.
    """
    import_tensorflow()
    from storage.loading import load_q_values, make_saved_env
    from storage.model_file import read_model
    from storage.trust import untrusted_settings
    from train import train
    from training.callbacks import RunCallback
    from training.greedy_play import make_evaluation_lanes, play_greedily

    met: list[list[np.ndarray]] = []

    class Collect(RunCallback):
        """Collects the weights of every model that is evaluated."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if "greedy_avg" in (logs or {}):
                met.append(self.agent.get_weights())

    with tempfile.TemporaryDirectory() as folder:
        config = Config.from_preset(**settings, models_dir=f"{folder}/models", logs_dir=f"{folder}/logs")
        run = train(config, [Collect()])
        assert run.best
        saved = read_model(run.best.path, untrusted_settings(config))
        kept_q_values = load_q_values(saved, make_saved_env(saved))
    agent = run.agent
    if not all(np.array_equal(a, b) for a, b in zip(met[-1], agent.get_weights(), strict=True)):
        met.append(agent.get_weights())  # evaluated after the last window
    with make_evaluation_lanes(config, episodes, most=100) as envs:

        def play(q_values: Any) -> np.ndarray:
            return play_greedily(envs, q_values, episodes, SCORE_SEED, config).returns

        returns = []
        for weights in met:
            agent.set_weights(weights)
            returns.append(play(agent.q_values))
        return Choice(play(kept_q_values), np.array(returns))


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--env", required=True, metavar="ID", help="environment to train in")
    parser.add_argument("--steps", type=at_least(1), help="of each run (default: the preset's)")
    parser.add_argument("--first-seed", type=at_least(0), default=1, help="(default: %(default)s)")
    parser.add_argument("--seeds", type=at_least(1), default=3, help="how many (default: %(default)s)")
    parser.add_argument("--episodes", type=at_least(2), default=1000, help="for each model (default: %(default)s)")
    arguments = parser.parse_args()
    settings = {"env": arguments.env} | ({"steps": arguments.steps} if arguments.steps else {})
    with exit_on_bad_input():
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            choice = in_own_process(train_once, {**settings, "seed": seed}, arguments.episodes)
            print(f"{arguments.env}, seed {seed}: {choice.line()}", flush=True)


if __name__ == "__main__":
    main()
