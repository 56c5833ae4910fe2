"""Measures the share of a default run that its pictures take: python -m experiments.picture_share"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

from config import Config
from console.arguments import at_least, make_parser
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow


def seconds_in(seconds: dict[str, float], of: type, method: str) -> None:
    """Make a class's method add the time that it takes to `seconds`, under the class's name."""
    plain: Callable[..., Any] = getattr(of, method)

    def timed(self: Any, *arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return plain(self, *arguments, **named)
        finally:
            seconds[of.__name__] = seconds.get(of.__name__, 0.0) + time.perf_counter() - began

    setattr(of, method, timed)


def measure(config: Config) -> tuple[dict[str, float], float]:
    """Train a run. Returns the seconds in each class of callbacks, and those of the whole run."""
    import_tensorflow()
    from blob.callbacks import PercentOfOptimum, PolicyMap
    from train import train
    from training.pictures import Pictures
    from training.tensorboard_callback import EpisodeTensorBoard

    seconds: dict[str, float] = {}
    for callback in (Pictures, PolicyMap, EpisodeTensorBoard):
        for method in ("__init__", "on_train_begin", "on_epoch_end"):
            seconds_in(seconds, callback, method)
    run = train(config, [PercentOfOptimum(config), PolicyMap(config)])
    return seconds, run.seconds


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--seed", type=at_least(0), default=101, help="of the run (default: %(default)s)")
    parser.add_argument(
        "--episodes", type=at_least(100), default=Config.episodes, help="of the run (default: %(default)s)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seed, episodes = arguments.seed, arguments.episodes
        config = Config(seed=seed, episodes=episodes, models_dir=f"{folder}/models", logs_dir=f"{folder}/logs")
        seconds, total = measure(config)
    for name, spent in seconds.items():
        print(f"{name:20} {spent:6.2f} s  {spent / total:.2%} of the run")
    print(f"{'the whole run':20} {total:6.1f} s")


if __name__ == "__main__":
    main()
