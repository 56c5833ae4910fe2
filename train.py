"""Train a deep Q-network: `python train.py`, then `tensorboard --logdir logs` and `python play.py`."""

from __future__ import annotations

import console.requirements  # noqa: F401 (first of all: it says what is missing)

# isort: split
from training.command import read_command

# A mistake on the command line shows now, not after the seconds that importing TensorFlow takes.
COMMAND = read_command() if __name__ == "__main__" else None

import dataclasses
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import keras

from cluster.learner import make_agent, make_lanes
from config import Config
from console.errors import exit_on_bad_input
from console.messages import say
from storage.model_file import read_model
from storage.trust import untrusted_settings
from training.command import Command
from training.result import RunResult
from training.run import Run
from training.summary import summary


def train(
    config: Config,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    resume: Path | None = None,
    quiet: bool = False,
    address: str | None = None,
) -> RunResult:
    """Train an agent. Its models and logs lie in the settings' folders afterwards.

    A Keras epoch is a window of `aggregate_every` episodes.

    Args:
        config: the settings. Without a seed, one is drawn and recorded.
        callbacks: Keras callbacks beside the built-in ones. docs/using.md lists the logs they may monitor. Numbers
            and pictures that they add to the logs go to TensorBoard too. `stop_training` is honoured.
        resume: the log folder of a run with these settings to go on with, from its newest intact checkpoint.
        quiet: whether to show no progress.
        address: of the Ray cluster where actors play, if there are any; None for this machine.

    Returns:
        The result. Ctrl-C or SIGTERM ends the run early, with `interrupted` set; a second one ends the program at once.

    Raises:
        InputError: the environment does not suit, the run cannot be resumed, or it diverged.
    """
    if config.seed is None:
        config = dataclasses.replace(config, seed=secrets.randbelow(10_000))
    with make_lanes(config, address) as envs:  # many environments, stepped side by side
        agent = make_agent(config, envs, resumed=resume is not None)
        with Run(config, agent, envs, callbacks, resume, quiet) as run:
            observations, masks = run.begin()  # masks say which actions are legal
            while not run.is_over:
                actions = agent.act(observations, masks)  # mostly the best known, sometimes random
                step = envs.step(actions)
                agent.remember(observations, actions, step)
                updates = agent.learn()  # moves Q towards reward + discount * max Q(next observation)
                observations, masks = step.next_observations, step.next_masks
                run.count(step, updates)  # windows, evaluations, models, checkpoints
            return run.end()


def main(command: Command) -> None:
    """Run the command line."""
    # Blob's optimum is known. It only judges, in a curve and a table: nothing learns from it.
    from blob.callbacks import judges
    from blob.judge import judge_model
    from blob.solver import is_solvable

    config = command.config
    with exit_on_bad_input():
        # A list kept here would keep the agent, and with it the replay memory.
        result = train(config, judges(config), command.resume, command.quiet, command.address)
    say(summary(result), sys.stdout)
    if result.interrupted:
        sys.exit(128 + result.interrupted)  # as shells do
    if result.failure:
        sys.exit(1)
    best = result.best
    del result  # with its replay memory, to make room for the judge's tables
    if best and is_solvable(config):
        if not command.quiet:
            say("judging the best model from all starts, some seconds")
        with exit_on_bad_input():
            say(judge_model(read_model(best.path, untrusted_settings(config))).table(), sys.stdout)


if COMMAND:
    main(COMMAND)
