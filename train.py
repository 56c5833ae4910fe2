"""Train a deep Q-network: `python train.py`, then `tensorboard --logdir logs` and `python play.py models/X.model`."""

from __future__ import annotations

import dataclasses
import secrets
import sys
from collections.abc import Sequence
from contextlib import closing

if __name__ == "__main__":
    # Read and check the settings first: a mistake should not wait the seconds that importing TensorFlow takes.
    from config import parse_config
    from environments import check_env
    from startup import check_writable, end_quietly_on_ctrl_c, exit_on_bad_input, import_tensorflow

    end_quietly_on_ctrl_c()  # training itself ends more carefully, see StopOnCtrlC
    CONFIG = parse_config()
    with exit_on_bad_input():
        check_writable("--models-dir", CONFIG.models_dir)
        check_writable("--logs-dir", CONFIG.logs_dir)
        check_env(CONFIG)
        import_tensorflow()

import keras
import numpy as np
from tqdm import tqdm

from agent import DQNAgent, UpdateStats
from config import Config
from environments import final_observations, make_vector_env, published_symmetries
from masks import action_masks, final_action_masks
from run import Run, StopOnCtrlC
from tensorboard_callback import EpisodeTensorBoard


def train(config: Config, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Run:
    """Train an agent as the settings say; its models and logs lie in the settings' folders afterwards.

    Args:
        config: the settings. Without a seed, one is drawn and recorded.
        callbacks: Keras callbacks beside the built-in one. A Keras epoch is a window of `aggregate_every` episodes;
            `Run.end_window` lists what they may monitor. What they add to the logs goes to TensorBoard too.
            `stop_training` is honoured.

    Returns:
        The run. Ctrl-C ends it early, with `interrupted` set; a second Ctrl-C ends the program at once.

    Raises:
        InputError: the environment does not suit, or the loss is no longer finite.
    """
    if config.seed is None:
        config = dataclasses.replace(config, seed=secrets.randbelow(2**32))
    envs = make_vector_env(config, config.lanes)
    agent = DQNAgent(envs.single_observation_space, envs.single_action_space, config, published_symmetries(envs))
    run = Run(agent)
    # Drawn from the run's seed rather than equal to it: lane i is seeded with seed + i, so neighbouring runs would
    # share lanes.
    observations, infos = envs.reset(seed=int(np.random.SeedSequence(config.seed).generate_state(1)[0]))
    masks_shape = config.lanes, agent.n_actions
    returns, lengths = np.zeros(config.lanes), np.zeros(config.lanes, int)
    episodes: list[tuple[float, int]] = []  # return and length of those that ended in this window
    updates: list[UpdateStats] = []
    played = 0
    total, unit = (config.steps, "step") if config.steps else (config.episodes, "ep")
    with closing(envs), run, StopOnCtrlC() as ctrl_c, tqdm(total=total, unit=unit) as bar:
        run.begin([*learning_rate_callbacks(agent), *callbacks, EpisodeTensorBoard(run.log_dir, config)])
        while agent.progress < 1 and not agent.online.stop_training and not ctrl_c.pressed:
            # Play one step of every lane, remember it, learn from what is remembered.
            actions = agent.act(observations, agent.epsilon, action_masks(infos, masks_shape))
            next_observations, rewards, terminated, truncated, infos = envs.step(actions)
            final = final_observations(next_observations, infos)
            final_masks = final_action_masks(infos, masks_shape)
            agent.remember(observations, actions, rewards, terminated, truncated, final, final_masks)
            updates += agent.learn()
            observations = next_observations

            # An episode's return is the plain sum of its rewards.
            returns += rewards
            lengths += 1
            ended = np.flatnonzero(terminated | truncated)[: config.episodes - played]
            episodes += zip(returns[ended].tolist(), lengths[ended].tolist(), strict=True)
            returns[ended] = lengths[ended] = 0
            played += len(ended)
            bar.update(config.lanes if config.steps else len(ended))
            full = len(episodes) // config.aggregate_every * config.aggregate_every
            for first in range(0, full, config.aggregate_every):
                bar.set_postfix_str(run.end_window(episodes[first : first + config.aggregate_every], updates))
            if full:
                episodes, updates = episodes[full:], []
        run.interrupted = ctrl_c.pressed
        run.end(episodes, updates)
    return run


def learning_rate_callbacks(agent: DQNAgent) -> list[keras.callbacks.Callback]:
    """Keras's own scheduler, which sets the rate at every window's begin, and its own schedule, over the run's progress
    from 0 to 1; none for a constant rate."""
    if agent.config.learning_rate_schedule == "constant":
        return []
    falling = keras.optimizers.schedules.PolynomialDecay(agent.config.learning_rate, 1.0, end_learning_rate=0.0)
    return [keras.callbacks.LearningRateScheduler(lambda window: float(falling(agent.progress)))]


def main() -> None:
    """The command line."""
    # Blob's optimum is known. It only judges, in a curve and, in the end, a table: `train` does not even import it.
    from optimum import PercentOfOptimum, is_solvable, judge_model

    solvable = is_solvable(CONFIG)
    with exit_on_bad_input():
        run = train(CONFIG, [PercentOfOptimum(CONFIG)] if solvable else [])
    print(run.summary())
    best, interrupted = run.best, run.interrupted
    del run  # with its replay memory, to make room for the judge's tables
    if solvable and best:
        print(judge_model(best).table())
    if interrupted:
        sys.exit(130)


if __name__ == "__main__":
    main()
