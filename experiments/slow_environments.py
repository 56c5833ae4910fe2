"""Measures what --processes is worth where a step of the environment is slow: steps/s of CartPole that sleeps, with all
lanes in one process and with each in its own: python -m experiments.slow_environments"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv

from config import Config
from console.arguments import at_least, make_parser
from console.errors import exit_on_bad_input
from console.signals import end_quietly_on_ctrl_c
from environments.lanes import make_lanes

LANES = (1, 2, 4, 8, 16)


class SlowCartPole(CartPoleEnv):
    """CartPole whose steps take some milliseconds, in which it computes nothing, as one that waits for a simulator."""

    def __init__(self, milliseconds: float = 2.0, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self._seconds = milliseconds / 1000

    def step(self, action: Any) -> Any:
        """Wait, then step."""
        time.sleep(self._seconds)
        return super().step(action)


def steps_per_second(config: Config, seconds: int) -> float:
    """Step all lanes with random actions for some seconds. Returns the steps of all lanes in a second."""
    generator = np.random.default_rng(0)
    with make_lanes(config, config.lanes, resumable=True) as envs:
        envs.reset(0)
        steps, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            envs.step(generator.integers(envs.n_actions, size=envs.count))
            steps += envs.count
        return steps / (time.perf_counter() - began)


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--milliseconds", type=float, default=2.0, help="of a step (default: %(default)s)")
    parser.add_argument("--seconds", type=at_least(1), default=5, help="for each figure (default: %(default)s)")
    arguments = parser.parse_args()
    env = "experiments.slow_environments:SlowCartPole"
    print(
        f"{'lanes':>5}{'one process':>14}{'--processes':>14}{'ratio':>8}  steps/s, {arguments.milliseconds} ms a step"
    )
    with exit_on_bad_input():
        for lanes in LANES:
            settings = {"env": env, "env_args": {"milliseconds": arguments.milliseconds}, "lanes": lanes}
            one, many = (
                steps_per_second(Config.from_preset(**settings, processes=processes), arguments.seconds)
                for processes in (False, True)
            )
            print(f"{lanes:5}{one:14,.0f}{many:14,.0f}{many / one:8.1f}", flush=True)


if __name__ == "__main__":
    main()
