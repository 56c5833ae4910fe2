"""Measures the speed of training on Blob, in turns with the common predict-and-fit pattern:
python -m experiments.benchmark"""

from __future__ import annotations

import math
import os
import platform
import random
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from blob_env import MOVES
from config import Config
from console.arguments import at_least, make_parser
from console.errors import exit_on_bad_input
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from environments.lanes import make_lanes
from presets import PRESETS

if TYPE_CHECKING:
    import keras

EXPECTED_RATIO = 12
MATRIX_SIDE = 2048


class CommonPattern:
    """The common pattern, after the well-known tutorial: one environment, a deque, and `predict` and `fit` every step.

    Attributes:
        steps, updates: done so far.
        flops_per_step, flops_per_update: floating-point operations, as `forward_flops` counts them.
    """

    def __init__(self, config: Config) -> None:
        import keras

        from networks import build_q_network

        self.config = config
        self.env = gym.make(config.env)
        scaled = Box(0, 1, self.env.observation_space.shape, np.float32)  # the pattern divides by 255 itself
        self.online, self.target = (build_q_network(scaled, len(MOVES), config.network) for _ in range(2))
        self.target.set_weights(self.online.get_weights())
        self.online.compile(loss="mse", optimizer=keras.optimizers.Adam(config.learning_rate))
        self.memory: deque[tuple] = deque(maxlen=config.memory_size)
        self._random = random.Random(config.seed)
        self.state, _ = self.env.reset(seed=config.seed)
        self.steps = self.updates = self.episodes = 0
        self.flops_per_step = forward_flops(self.online)
        # Both networks predict the batch, and fitting costs three forward passes (backward is two).
        self.flops_per_update = 5 * config.batch_size * forward_flops(self.online)

    def step(self, epsilon: float = 0.0) -> None:
        """Play one step, and learn from the memory once `learn_start` transitions are in it."""
        if self._random.random() < epsilon:
            action = self._random.randrange(len(MOVES))
        else:
            action = int(np.argmax(self.online.predict(self.state[None] / 255, verbose=0)[0]))
        next_state, reward, terminated, truncated, _ = self.env.step(action)
        self.memory.append((self.state, action, reward, next_state, terminated))
        self.state = next_state
        self.steps += 1
        if len(self.memory) >= self.config.learn_start:
            self._update()
        if terminated or truncated:
            self.state, _ = self.env.reset()
            self.episodes += 1
            if self.episodes % self.config.target_every == 0:
                self.target.set_weights(self.online.get_weights())

    def _update(self) -> None:
        batch = self._random.sample(self.memory, self.config.batch_size)
        states = np.array([transition[0] for transition in batch]) / 255
        next_states = np.array([transition[3] for transition in batch]) / 255
        targets = self.online.predict(states, verbose=0)
        next_values = self.target.predict(next_states, verbose=0)
        for i, (_, action, reward, _, terminated) in enumerate(batch):
            targets[i, action] = reward + (0 if terminated else self.config.discount * np.max(next_values[i]))
        self.online.fit(states, targets, batch_size=self.config.batch_size, verbose=0, shuffle=False)
        self.updates += 1


class ProjectAgent:
    """This project's agent in the loop of `train.py`, without logs, evaluations and models.

    Attributes:
        steps, updates, flops_per_step, flops_per_update: see `CommonPattern`.
    """

    def __init__(self, config: Config) -> None:
        from agent import DQNAgent

        self.envs = make_lanes(config, config.lanes)
        self.agent = DQNAgent(self.envs.observation_space, self.envs.action_space, config, self.envs.symmetries)
        self.observations, self.masks = self.envs.reset(config.seed or 0)
        self.steps = self.updates = 0
        self.flops_per_step = forward_flops(self.agent.online)
        # One forward pass of the target network, one more for double DQN, and three for the gradient (backward is two).
        self.flops_per_update = (4 + config.double) * config.batch_size * forward_flops(self.agent.online)

    def step(self, epsilon: float = 0.0) -> None:
        """Play one step in every lane and do the updates that are due."""
        actions = self.agent.act(self.observations, self.masks, epsilon)
        step = self.envs.step(actions)
        self.agent.remember(self.observations, actions, step)
        self.agent.learn()
        self.observations, self.masks = step.next_observations, step.next_masks
        self.steps, self.updates = self.agent.steps, self.agent.updates


class Trainer(Protocol):
    """Acts and learns, step by step; its speed is measured.

    Attributes:
        steps, updates: done so far.
    """

    steps: int
    updates: int

    def step(self, epsilon: float = 0.0) -> None:
        """Play one step in every lane and do the updates that are due."""


class Stretch(NamedTuple):
    """The steps and updates that a trainer did in some seconds, and the megabytes by which the process grew."""

    seconds: float
    steps: int
    updates: int
    megabytes: float

    @property
    def steps_per_second(self) -> float:
        """Environment steps per second."""
        return self.steps / self.seconds


def total(rounds: list[Stretch]) -> Stretch:
    """Sum all rounds."""
    return Stretch(*map(sum, zip(*rounds, strict=True)))


def forward_flops(model: keras.Model) -> int:
    """Count the floating-point operations of one observation's forward pass.

    Each multiply-add in the dense and convolutional layers counts as two; the rest (einsums, pooling, activations) is
    left out.
    """
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    # A kernel is applied at every position of the output; a dense layer has one.
    return sum(2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1]) for layer in kernels)


def matmul_gflops(repeats: int = 20) -> float:
    """Measure the GFLOP/s of a float32 matrix product, at its fastest: a peak that no network exceeds."""
    import tensorflow as tf

    product = tf.function(lambda a, b: tf.matmul(a, b)[0, 0])
    matrix = tf.random.normal((MATRIX_SIDE, MATRIX_SIDE))
    times = [time.perf_counter()]
    for _ in range(repeats):
        product(matrix, matrix).numpy()
        times.append(time.perf_counter())
    return 2 * MATRIX_SIDE**3 / min(np.diff(times)) / 1e9


def resident_megabytes() -> float:
    """Return the process's memory in MB; nan where there is no /proc to read it from."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.exists() else math.nan


AnyTrainer = TypeVar("AnyTrainer", bound=Trainer)


def build(make: Callable[[], AnyTrainer]) -> tuple[AnyTrainer, float]:
    """Make a trainer, play at random until its first update, and let every function be traced.

    Returns:
        The trainer, and the megabytes by which the process grew.
    """
    before = resident_megabytes()
    trainer = make()
    while not trainer.updates:
        trainer.step(epsilon=1.0)
    for _ in range(5):
        trainer.step()
    return trainer, resident_megabytes() - before


def measure(trainer: Trainer, seconds: float) -> Stretch:
    """Run a trainer for some seconds, with all actions chosen by its network."""
    steps, updates, megabytes = trainer.steps, trainer.updates, resident_megabytes()
    began = time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        trainer.step()
    return Stretch(elapsed, trainer.steps - steps, trainer.updates - updates, resident_megabytes() - megabytes)


def machine() -> str:
    """Describe the processor, its cores, the GPUs in use and the versions."""
    import keras
    import tensorflow as tf

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    cpu = f"{next(names, platform.processor())}, {os.cpu_count()} cores"
    versions = f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    return f"{cpu}, {len(tf.config.list_physical_devices('GPU'))} GPUs, {versions}"


def compare(seconds: int, n_rounds: int) -> None:
    """Measure all trainers in turns, so that other load on the machine affects them alike, and print the table."""
    tutorial = Config(seed=0, preset="tutorial", **PRESETS["tutorial"])
    contestants: dict[str, tuple[CommonPattern | ProjectAgent, float]] = {
        "common pattern": build(lambda: CommonPattern(tutorial)),
        "tutorial preset": build(lambda: ProjectAgent(tutorial)),
        "default preset": build(lambda: ProjectAgent(Config(seed=0))),
    }
    rounds: dict[str, list[Stretch]] = {name: [] for name in contestants}
    for _ in range(n_rounds):
        for name, (trainer, _) in contestants.items():
            rounds[name].append(measure(trainer, seconds))
    print(f"{resident_megabytes():.0f} MB are held by the process; below, by how much each has made it grow")
    peak = matmul_gflops()  # not earlier: the trainers would use the memory that it frees

    print(f"{'':15} env steps/s  updates/s  GFLOP/s  of peak  MB before  in rounds")
    for name, (trainer, built) in contestants.items():
        print_row(name, trainer, total(rounds[name]), built, peak)
    ours, pattern = rounds["tutorial preset"], rounds["common pattern"]
    ratio = total(ours).steps_per_second / total(pattern).steps_per_second
    by_round = ", ".join(f"{a.steps_per_second / b.steps_per_second:.1f}" for a, b in zip(ours, pattern, strict=True))
    print(f"ratio: the tutorial preset takes {ratio:.1f}x the environment steps/s of the common pattern ", end="")
    print(f"(by round {by_round}); at least {EXPECTED_RATIO}x is expected")
    print(f"peak: {peak:.0f} GFLOP/s, the fastest float32 product of two {MATRIX_SIDE} x {MATRIX_SIDE} matrices")


def print_row(name: str, trainer: CommonPattern | ProjectAgent, stretch: Stretch, built: float, peak: float) -> None:
    """Print a trainer's row of the table.

    Args:
        name, trainer, stretch: the trainer and its measurement.
        built: MB by which the process grew when the trainer was made.
        peak: GFLOP/s of the machine.
    """
    flops = stretch.steps * trainer.flops_per_step + stretch.updates * trainer.flops_per_update
    gflops = flops / stretch.seconds / 1e9
    speed = f"{stretch.steps_per_second:11.1f} {stretch.updates / stretch.seconds:10.1f} {gflops:8.1f}"
    print(f"{name:15} {speed} {gflops / peak:8.1%} {built:+10.1f} {stretch.megabytes:+10.1f}")


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--seconds", type=at_least(1), default=10, help="for each in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="number of rounds (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        import_tensorflow()
    print(machine(), flush=True)
    compare(arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()
