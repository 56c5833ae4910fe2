"""Parsing the command line of train.py."""

import dataclasses
import json

import pytest

from config import Config
from console.errors import InputError
from presets import PRESETS
from training.command import parse_command_line


def config_of(*arguments: str) -> Config:
    """Return the settings of a command line."""
    return Config.from_preset(**parse_command_line(arguments).settings)


def test_only_what_was_given_is_given() -> None:
    given = parse_command_line(["--resume", "some", "--steps", "900", "--logs-dir", "elsewhere"])
    assert given == ({"steps": 900, "logs_dir": "elsewhere"}, "some", False, False)
    assert parse_command_line(["--quiet", "--no-double"]) == ({"double": False}, None, True, False)


def test_flags_presets_and_json_agree() -> None:
    assert config_of() == Config()
    config = config_of(
        *("--preset", "tutorial", "--batch-size", "32", "--no-double", "--env-args", "size=5", "food_moves=true")
    )
    assert config == Config(
        **{**PRESETS["tutorial"], "preset": "tutorial", "batch_size": 32, "env_args": {"size": 5, "food_moves": True}}
    )
    assert Config(**json.loads(json.dumps(dataclasses.asdict(config)))) == config
    assert all(isinstance(value, bool | int | float | str) for value in config.hparams().values())


def test_every_setting_has_a_flag_that_takes_its_value() -> None:
    config = Config(steps=2_000, seed=1, max_episode_steps=9, init_from="a.model", env_args={"size": 4})
    given = dataclasses.asdict(config)
    arguments = []
    for name, value in given.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{'' if value else 'no-'}{flag}")
        else:
            arguments += [f"--{flag}", "size=4" if name == "env_args" else str(value)]
    assert parse_command_line(arguments).settings == given


def test_size_is_short_for_an_env_arg() -> None:
    assert config_of("--size", "20").env_args == {"size": 20}
    assert config_of("--size", "20", "--env-args", "enemy_moves=true").env_args == {
        "size": 20,
        "enemy_moves": True,
    }


def test_an_env_arg_without_a_value() -> None:
    with pytest.raises(InputError, match="--env-args takes KEY=VALUE, got 'size'"):
        parse_command_line(["--env-args", "size"])
