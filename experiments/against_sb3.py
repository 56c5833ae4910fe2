"""Compares the speed of acting and learning from screens with Stable-Baselines3's DQN, in turns, with the same network,
batch size and ratio of updates: pip install stable-baselines3, then python -m experiments.against_sb3"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from config import Config
from console.arguments import at_least, make_parser
from console.errors import InputError, exit_on_bad_input
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from environments.make import make_env
from experiments.benchmark import ProjectAgent, Stretch, Trainer, build, measure, total

PROJECT, PEER = "this project", "Stable-Baselines3"


class Peer:
    """Stable-Baselines3's DQN with our settings, stepped as in its own `learn`.

    Attributes:
        steps, updates: done so far.
    """

    def __init__(self, config: Config) -> None:
        from stable_baselines3 import DQN
        from stable_baselines3.common.vec_env import DummyVecEnv

        envs = DummyVecEnv([lambda: make_env(config)] * config.lanes)
        self.model = DQN(
            "CnnPolicy",  # the network of Mnih et al. 2015, as ours for screens
            envs,
            learning_rate=config.learning_rate,
            buffer_size=config.memory_size,
            learning_starts=config.learn_start,
            batch_size=config.batch_size,
            gamma=config.discount,
            train_freq=1,
            gradient_steps=config.lanes // config.learn_every,
            target_update_interval=config.target_every * config.learn_every,  # it counts steps
            max_grad_norm=config.gradient_clip,
            exploration_initial_eps=0.0,
            exploration_final_eps=0.0,
            seed=config.seed,
        )
        _, self._callback = self.model._setup_learn(10**9)
        self.steps = self.updates = 0

    def step(self, epsilon: float = 0.0) -> None:
        """Play one step in every lane and do the updates that are due."""
        model: Any = self.model
        start, memory = model.learning_starts, model.replay_buffer
        model.collect_rollouts(
            model.env, train_freq=model.train_freq, callback=self._callback, learning_starts=start, replay_buffer=memory
        )
        self.steps = model.num_timesteps
        if self.steps > start:
            model.train(model.gradient_steps, model.batch_size)
            self.updates = model._n_updates


class Acting:
    """A trainer that only acts, greedily, in the environments that it learns in.

    Attributes:
        steps, updates: done so far; updates stay 0.
    """

    def __init__(self, trainer: ProjectAgent | Peer) -> None:
        self.steps = self.updates = 0
        self._act: Callable[[Any], Any]
        self._step: Callable[[Any], Any]
        self._observations: Any
        if isinstance(trainer, Peer):
            envs: Any = trainer.model.env
            self._act = lambda observations: trainer.model.predict(observations, deterministic=True)[0]
            self._step = lambda actions: envs.step(actions)[0]
            self._observations = envs.reset()
        else:
            self._act = lambda observations: trainer.agent.act(observations, epsilon=0.0)
            self._step = lambda actions: trainer.envs.step(actions).next_observations
            self._observations, _ = trainer.envs.reset(trainer.agent.config.seed or 0)

    def step(self, epsilon: float = 0.0) -> None:
        """Play one step in every lane."""
        self._observations = self._step(self._act(self._observations))
        self.steps += len(self._observations)


# Each contestant has its own process, in which the next two functions are called: TensorFlow and PyTorch do not work
# well in one process.
_trainers: dict[str, Trainer] = {}


def _begin(name: str, config: Config) -> None:
    """Make this process's contestant, once to learn and once to act."""
    if name == PROJECT:
        import_tensorflow()
        learner: ProjectAgent | Peer = build(lambda: ProjectAgent(config))[0]
    else:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]  # TensorBoard would import it for PyTorch
        learner = build(lambda: Peer(config))[0]
    _trainers.update(learning=learner, acting=Acting(learner))


def _measure(what: str, seconds: int) -> Stretch:
    return measure(_trainers[what], seconds)


def compare(config: Config, seconds: int, n_rounds: int) -> None:
    """Measure both in turns, first learning and then acting, and print the table."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as ours, ProcessPoolExecutor(1, spawn) as theirs:
        contestants = {PROJECT: ours, PEER: theirs}
        for name, process in contestants.items():
            process.submit(_begin, name, config).result()
        ratio_of_updates = f"an update of {config.batch_size} every {config.learn_every} steps"
        print(f"{config.env}, {config.lanes} lanes, {ratio_of_updates}")
        print(f"{'environment steps/s':20}{PROJECT:>20}{PEER:>20}{'ratio':>8}  in rounds")
        for what in ("learning", "acting"):
            rounds: dict[str, list[Stretch]] = {name: [] for name in contestants}
            for _ in range(n_rounds):
                for name, process in contestants.items():
                    rounds[name].append(process.submit(_measure, what, seconds).result())
            speed, their_speed = (total(each).steps_per_second for each in rounds.values())
            pairs = zip(*rounds.values(), strict=True)
            by_round = ", ".join(f"{a.steps_per_second / b.steps_per_second:.2f}" for a, b in pairs)
            print(f"{what:20}{speed:20.0f}{their_speed:20.0f}{speed / their_speed:8.2f}  {by_round}", flush=True)


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--env", default="ALE/Pong-v5", help="environment with screens (default: %(default)s)")
    parser.add_argument("--seconds", type=at_least(1), default=20, help="for each in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="number of rounds (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        try:
            versions = ", ".join(f"{package} {version(package)}" for package in ("tensorflow", "stable_baselines3"))
        except PackageNotFoundError as error:
            raise InputError("the comparison needs Stable-Baselines3: pip install stable-baselines3") from error
        # Its DQN has neither double DQN nor n-step returns.
        same = {"double": False, "n_step": 1, "learning_rate_schedule": "constant", "seed": 0}
        same |= {"network": "auto", "screen_size": 84}
        config = Config.from_preset(env=arguments.env, memory_size=10_000, learn_start=1_000, **same)
        make_env(config).close()
    print(f"{os.cpu_count()} cores, {versions}")
    compare(config, arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()
