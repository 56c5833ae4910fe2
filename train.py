"""Train a deep Q-network: `python train.py`, then `tensorboard --logdir logs` and `python play.py models/X.model`."""

from __future__ import annotations

import dataclasses
import secrets
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from training.command import Command, read_command

COMMAND = read_command() if __name__ == "__main__" else None  # checked before TensorFlow's seconds of importing

import keras

from agent import DQNAgent
from config import Config
from console.errors import exit_on_bad_input
from console.messages import say
from environments.actions import action_masks, final_action_masks
from environments.known import symmetries_of
from environments.lanes import final_observations, make_vector_env
from q_table import Agent, QTableAgent
from storage.loading import set_saved_weights
from storage.trust import untrusted_settings
from training.pictures import Pictures
from training.run import Run
from training.tensorboard_callback import EpisodeTensorBoard


def train(
    config: Config,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    resume: Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train an agent as the settings say; its models and logs lie in the settings' folders afterwards.

    Args:
        config: the settings. Without a seed, one is drawn and recorded.
        callbacks: Keras callbacks beside the built-in one. A Keras epoch is a window of `aggregate_every` episodes;
            `Run.end_window` lists what they may monitor. What they add to the logs goes to TensorBoard too.
            `stop_training` is honoured.
        resume: the log folder of a run with these settings to go on with, from its newest whole checkpoint.
        quiet: whether to show no progress.

    Returns:
        The run. Ctrl-C or SIGTERM ends it early, with `interrupted` set; a second one ends the program at once.

    Raises:
        InputError: the environment does not suit, the run cannot be resumed, or it diverged.
    """
    if config.seed is None:
        config = dataclasses.replace(config, seed=secrets.randbelow(2**32))
    envs = make_vector_env(config, config.lanes, resumable=True)
    make_agent = DQNAgent if config.method == "dqn" else QTableAgent
    symmetries = symmetries_of(envs)
    agent: Agent = make_agent(envs.single_observation_space, envs.single_action_space, config, symmetries)
    if config.init_from and isinstance(agent, DQNAgent) and not resume:
        set_saved_weights(Path(config.init_from), agent.online)
        agent.copy_to_target()
    run = Run(agent, envs, resume, quiet)
    with closing(envs), run:
        tensorboard = EpisodeTensorBoard(run.log_dir, config, resumed=resume is not None)
        observations, masks = run.begin([*learning_rate_callbacks(agent), *callbacks, Pictures(config), tensorboard])
        while agent.progress < 1 and not agent.online.stop_training and not run.interrupted:
            # Play one step of every lane, remember it, learn from what is remembered. Masks say what is legal.
            actions = agent.act(observations, agent.epsilon, masks)
            next_observations, rewards, terminated, truncated, infos = envs.step(actions)
            # Where an episode ended, its lane has been reset already: what the step led to is in the infos.
            final = final_observations(next_observations, infos)
            final_masks = final_action_masks(infos, masks.shape)
            agent.remember(observations, actions, rewards, terminated, truncated, final, final_masks)
            updates = agent.learn()
            observations, masks = next_observations, action_masks(infos, masks.shape)

            run.count(rewards, terminated | truncated, updates)
            run.checkpoint_if_due(observations, masks)
        run.end(observations, masks)
    return run


def learning_rate_callbacks(agent: Agent) -> list[keras.callbacks.Callback]:
    """Keras's own scheduler, which sets the rate at every window's begin, and its own schedule, over the run's progress
    from 0 to 1; none for a constant rate."""
    if agent.config.learning_rate_schedule == "constant":
        return []
    falling = keras.optimizers.schedules.PolynomialDecay(agent.config.learning_rate, 1.0, end_learning_rate=0.0)
    return [keras.callbacks.LearningRateScheduler(lambda window: float(falling(agent.progress)))]


def main(command: Command) -> None:
    """Run a command: train, and print the results."""
    # Blob's optimum is known. It only judges, in a curve and, in the end, a table: `train` does not even import it.
    from blob.callbacks import PercentOfOptimum, PolicyMap
    from blob.judge import judge_model
    from blob.solver import is_solvable
    from training.summary import summary

    config, resume, quiet = command
    solvable = is_solvable(config)
    with exit_on_bad_input():
        run = train(config, [PercentOfOptimum(config), PolicyMap(config)] if solvable else [], resume, quiet)
    say(summary(run), sys.stdout)
    if run.interrupted:
        sys.exit(128 + run.interrupted)  # as shells have it
    best = run.best
    del run  # with its replay memory, to make room for the judge's tables
    if solvable and best:
        if not quiet:
            say("judging the best model from all starts, some seconds")
        with exit_on_bad_input():
            say(judge_model(best, untrusted_settings(config)).table(), sys.stdout)


if COMMAND:
    main(COMMAND)
