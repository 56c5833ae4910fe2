"""Train a deep Q-network: `python train.py`, then `tensorboard --logdir logs` and `python play.py models/X.model`."""

from __future__ import annotations

import dataclasses
import secrets
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

if __name__ == "__main__":
    # Read and check the settings first: a mistake should not wait the seconds that importing TensorFlow takes.
    from console.arguments import check_writable
    from console.errors import exit_on_bad_input
    from console.signals import end_quietly_on_ctrl_c
    from console.tensorflow_import import import_tensorflow
    from environments.check import check_env
    from storage.model_file import read_model
    from storage.run_folder import find_run, settings_to_resume
    from training.command import parse_command_line

    end_quietly_on_ctrl_c()  # training itself ends more carefully, see StopOnSignal
    CONFIG, GIVEN, RESUME, QUIET = parse_command_line()
    with exit_on_bad_input():
        RUN_DIR = None if RESUME is None else find_run(RESUME, CONFIG.logs_dir)
        CONFIG = settings_to_resume(RUN_DIR, GIVEN) if RUN_DIR else CONFIG
        check_writable("--models-dir", CONFIG.models_dir)
        check_writable("--logs-dir", CONFIG.logs_dir)
        check_env(CONFIG)
        if CONFIG.init_from and not RUN_DIR:
            read_model(Path(CONFIG.init_from), only_weights=True)
        import_tensorflow()

import keras

from agent import DQNAgent
from config import Config
from console.messages import say
from environments.actions import action_masks, final_action_masks
from environments.known import symmetries_of
from environments.lanes import final_observations, make_vector_env
from q_table import Agent, QTableAgent
from storage.loading import set_weights
from storage.model_file import read_model
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
        set_weights(read_model(Path(config.init_from), only_weights=True), agent.online)
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


def main() -> None:
    """The command line."""
    # Blob's optimum is known. It only judges, in a curve and, in the end, a table: `train` does not even import it.
    from blob.callbacks import PercentOfOptimum, PolicyMap
    from blob.judge import judge_model
    from blob.solver import is_solvable
    from training.summary import summary

    solvable = is_solvable(CONFIG)
    with exit_on_bad_input():
        run = train(CONFIG, [PercentOfOptimum(CONFIG), PolicyMap(CONFIG)] if solvable else [], RUN_DIR, QUIET)
    say(summary(run), sys.stdout)
    if run.interrupted:
        sys.exit(128 + run.interrupted)  # as shells have it
    best = run.best
    del run  # with its replay memory, to make room for the judge's tables
    if solvable and best:
        if not QUIET:
            say("judging the best model from all starts, some seconds")
        with exit_on_bad_input():
            say(judge_model(read_model(best, untrusted_settings(CONFIG))).table(), sys.stdout)


if __name__ == "__main__":
    main()
