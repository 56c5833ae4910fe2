"""Train with the settings that the command line would take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

import train as script
from blob.callbacks import judges
from config import Config
from storage.run_folder import settings_to_resume
from storage.runs import find_run_to_resume
from training.result import RunResult


def train(
    config: Config | None = None,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    resume: str | Path | None = None,
    quiet: bool = False,
    address: str | None = None,
    **settings: Any,
) -> RunResult:
    """Train an agent.

    Args:
        config: the settings, all of them; without it, those of the preset that suits `env`.
        callbacks: Keras callbacks, for which an epoch is a window of episodes; docs/using.md lists what they may
            monitor.
        resume: a run to continue, by its name or folder, or "latest". `episodes` and `steps` may extend it.
        quiet: whether to show no progress.
        address: of the Ray cluster that actors play on, if the settings name some; None for this machine.
        settings: single settings in place of the preset's, named as in `Config`: env, seed, episodes, steps ...

    Returns:
        The result. One Ctrl-C, or a notebook's stop button, ends the run early and saves it.

    Raises:
        InputError: a setting is unknown or wrong, the environment does not suit, the run cannot be resumed, or it
            diverged.
        TypeError: both `config` and settings are given.
    """
    if config and settings:
        raise TypeError("give either a config or single settings: dataclasses.replace(config, ...) changes a config")
    run = None
    if resume is not None:
        run = find_run_to_resume(str(resume), settings.get("logs_dir", Config.logs_dir))
        config = config or settings_to_resume(run, settings)
    config = config or Config.from_preset(**settings)
    # The judges say how much is possible.
    return script.train(config, [*judges(config), *callbacks], run, quiet, address)
