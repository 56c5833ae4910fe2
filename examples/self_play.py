"""Self-play: the opponents are the agent itself of some episodes ago, saved in a folder as it learns.

python -m examples.self_play --env examples.connect_four:ConnectFour --env-args opponent=models/selves
"""

from __future__ import annotations

from training.command import read_command

# A mistake on the command line shows now, not after the seconds that importing TensorFlow takes.
COMMAND = read_command() if __name__ == "__main__" else None

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from config import Config
from console.arguments import check_writable
from console.errors import InputError, exit_on_bad_input
from console.messages import say
from environments.make import make_env
from examples.opponents import RANDOM, models_in
from storage.model_file import ModelInfo
from storage.versions import versions
from train import train
from training.callbacks import RunCallback
from training.command import Command
from training.summary import summary

SELVES = 40


class KeepSelves(RunCallback):
    """Saves the agent into a folder at the start of a run and at equal parts of it, as 00.model, 01.model, ...

    Environments with `opponent=FOLDER` play against them.

    Args:
        config: the run's settings, whose opponent is the folder.
        selves: how many to save.
    """

    def __init__(self, config: Config, selves: int = SELVES) -> None:
        super().__init__()
        self._config, self._folder, self._selves = config, Path(config.env_args["opponent"]), selves
        with closing(make_env(config)) as env:
            self._spaces = str(env.observation_space), str(env.action_space)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the agent if the next part of the run is over."""
        agent, logs = self.agent, logs or {}
        path = self._folder / f"{min(int(agent.progress * self._selves), self._selves - 1):02d}.model"
        if not path.exists():
            scores = {key: float(logs[f"reward_{key}"]) for key in ("avg", "min", "max")}
            agent.save(path, ModelInfo(self._config, *self._spaces, agent.episodes, scores, versions()))


def check_folder(config: Config, resumed: bool) -> None:
    """Check that past selves can be saved where the opponents are.

    Raises:
        InputError: the opponent is no folder, or the folder holds another run's models.
    """
    opponent = config.env_args.get("opponent", RANDOM)
    if opponent == RANDOM or Path(opponent).suffix:
        raise InputError("self-play needs a folder for past selves: --env-args opponent=models/selves")
    check_writable("--env-args opponent", opponent)
    if models_in(Path(opponent)) and not resumed:
        raise InputError(f"--env-args opponent={opponent} holds models of another run: name a new folder")


def main(command: Command) -> None:
    """Run the command line, which is that of train.py."""
    with exit_on_bad_input():
        check_folder(command.config, command.resume is not None)
        result = train(command.config, [KeepSelves(command.config)], command.resume, command.quiet)
    say(summary(result), sys.stdout)
    if result.interrupted:
        sys.exit(128 + result.interrupted)  # as shells do


if COMMAND:
    main(COMMAND)
