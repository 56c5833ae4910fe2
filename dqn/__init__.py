"""The project from Python, in five names: `from dqn import Agent, Config, curves, load, train`.

>>> result = train(env="CartPole-v1", seed=1)    # the settings that `python train.py --env CartPole-v1 --seed 1` takes
>>> agent = load("latest")
>>> agent.evaluate()["avg"]
>>> agent.record("cartpole.gif")
"""

from __future__ import annotations

from console.tensorflow_import import import_tensorflow

import_tensorflow()  # without the lines that it logs

from config import Config  # noqa: E402
from dqn.trained import Agent, curves, load  # noqa: E402
from dqn.training import train  # noqa: E402

__all__ = ["Agent", "Config", "curves", "load", "train"]
