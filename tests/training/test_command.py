"""Parsing the command line of train.py."""

import dataclasses
import json

import pytest

from config import Config
from console.errors import InputError
from console.nearest import OURS
from console.settings import flag_of
from presets import PRESETS
from training.command import GROUPS, parse_command_line


def config_of(*arguments: str) -> Config:
    """Return the settings of a command line."""
    return Config.from_preset(**parse_command_line(arguments).settings)


def test_only_what_was_given_is_given() -> None:
    given = parse_command_line(["--resume", "some", "--steps", "900", "--logs-dir", "elsewhere"])
    assert given == ({"steps": 900, "logs_dir": "elsewhere"}, "some", False, None, False)
    assert parse_command_line(["--quiet", "--no-double"]) == ({"double": False}, None, True, None, False)


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


def test_every_setting_is_in_one_group_of_the_help() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(setting.name for setting in dataclasses.fields(Config))
    assert len(GROUPS["what matters most"]) == 10


@pytest.mark.parametrize("text", ["25000", "25_000", "25,000", "25e3", "25000.0"])
def test_a_whole_number_may_be_written_as_people_do(text: str) -> None:
    assert parse_command_line(["--episodes", text]).settings == {"episodes": 25_000}


def test_resume_without_a_name_is_the_latest() -> None:
    assert parse_command_line(["--resume"]).resume == "latest"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (["--episods", "100"], "did you mean --episodes?"),
        (["--lr=0.1"], "here it is --learning-rate"),
        (["--gamma", "0.9"], "here it is --discount"),
        (["--epochs", "10"], "here it is --episodes"),
        (["--buffer_size", "10"], "here it is --memory-size"),
        (["--gpu"], "a GPU is used wherever TensorFlow finds one"),
        (["CartPole-v1"], "for an environment, write --env CartPole-v1"),
        (["--xyzzy"], "unrecognized arguments: --xyzzy (--help"),
        (["--episodes", "1.5"], "invalid whole number value: '1.5'"),
        (["--episodes", "inf"], "invalid whole number value: 'inf'"),
    ],
)
def test_what_is_unknown_is_answered(typed: list[str], answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_command_line(typed)
    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and answer in line


def test_our_flags_exist() -> None:
    """What is answered is a flag of some script."""
    flags = {flag_of(setting.name) for setting in dataclasses.fields(Config)} | {"--resume", "--out", "--record"}
    assert set(OURS.values()) <= flags and not set(OURS) & flags
