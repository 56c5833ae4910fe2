"""Run folders: `run.json` is the one source of a run's settings, and says whether the run has ended."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from test_safe_files import WRONG, assert_one_line

from config import Config
from console.errors import InputError
from storage.checkpoint import Checkpoints
from storage.run_folder import (
    FORMAT,
    add_to_record,
    claim_folder,
    read_record,
    record_start,
    settings_to_resume,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    models_dir, logs_dir = str(tmp_path / "models"), str(tmp_path / "logs")
    return Config(env_args={"size": 4}, seed=1, episodes=40, learn_start=100, models_dir=models_dir, logs_dir=logs_dir)


@pytest.fixture
def run_dir(config: Config) -> Path:
    """A run that was started and wrote a checkpoint."""
    folder = claim_folder(config)
    record_start(folder, config)
    Checkpoints(folder / "checkpoints", None).write(1, {"config": {"seed": 99}})
    return folder


def resume(run_dir: Path, config: Config, **given: Any) -> Config:
    return settings_to_resume(run_dir, {"logs_dir": config.logs_dir, "models_dir": config.models_dir, **given})


def change(run_dir: Path, **changes: Any) -> None:
    """Change `run.json`, as its user may."""
    path = run_dir / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_settings_come_from_run_json(run_dir: Path, config: Config) -> None:
    assert resume(run_dir, config) == config
    # Whatever a manifest says, even with the right digest, or if there is none.
    (path,) = (run_dir / "checkpoints").glob("*.json")
    manifest = json.loads(path.read_text().partition("\n")[2])
    changed = {**manifest, "config": {"seed": 98}, "state": {"dict": {"config": {"dict": {"seed": 97}}}}}
    text = json.dumps(changed)
    path.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    assert resume(run_dir, config) == config
    path.unlink()
    assert resume(run_dir, config) == config
    # A change to run.json counts.
    change(run_dir, config=dataclasses.asdict(dataclasses.replace(config, seed=2)))
    assert resume(run_dir, config).seed == 2


def test_a_run_that_ended_is_finished_until_it_is_extended(run_dir: Path, config: Config) -> None:
    add_to_record(run_dir, ended={"episodes": 40, "steps": 900})
    assert read_record(run_dir)["ended"] == {"episodes": 40, "steps": 900}
    with pytest.raises(InputError, match="is finished: --episodes, above 40, extends it"):
        resume(run_dir, config)
    with pytest.raises(InputError, match="is finished: --episodes, above 40, extends it"):
        resume(run_dir, config, steps=10_000)
    with pytest.raises(InputError, match="is finished: --steps, above 900, extends it"):
        resume(run_dir, config, episodes=60, steps=900)
    longer = resume(run_dir, config, episodes=60)
    assert longer == dataclasses.replace(config, episodes=60)
    record_start(run_dir, longer)
    assert "ended" not in read_record(run_dir) and len(read_record(run_dir)["starts"]) == 2
    assert resume(run_dir, config) == longer


def test_a_run_that_stopped_itself_says_why_until_it_starts_again(run_dir: Path, config: Config) -> None:
    add_to_record(run_dir, stopped="the loss became nan")
    assert read_record(run_dir)["stopped"] == "the loss became nan"
    assert resume(run_dir, config) == config
    record_start(run_dir, config)
    assert "stopped" not in read_record(run_dir)


def test_a_record_that_is_gone_is_not_made_up(run_dir: Path) -> None:
    (run_dir / "run.json").unlink()
    add_to_record(run_dir, ended={"episodes": 40, "steps": 900})
    add_to_record(run_dir, stopped="the loss became nan")
    assert not (run_dir / "run.json").exists()


@pytest.mark.parametrize("version", [{}, {"format": 1}, {"format": 3}, {"format": 5}, {"format": None}], ids=str)
def test_other_formats_are_refused(run_dir: Path, config: Config, version: dict[str, Any]) -> None:
    record = read_record(run_dir)
    del record["format"]
    (run_dir / "run.json").write_text(json.dumps({**record, **version}))
    with pytest.raises(InputError, match=r"run\.json was written by another version of this project: start the run"):
        resume(run_dir, config)


DAMAGED: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "cut": b'{"format": 4, "config": {',
    "no text": b"\xff\xfe\x00",
    "no JSON": b"settings",
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "a number": b"7",
    "no settings": b'{"format": 4, "starts": []}',
    "no starts": b'{"format": 4, "config": {}}',
    "starts of numbers": b'{"format": 4, "config": {}, "starts": [1]}',
    "starts without versions": b'{"format": 4, "config": {}, "starts": [{"time": "now"}]}',
    "starts without a time": b'{"format": 4, "config": {}, "starts": [{"versions": {}}]}',
    "ended with text": b'{"format": 4, "config": {}, "starts": [], "ended": "x"}',
    "ended without steps": b'{"format": 4, "config": {}, "starts": [], "ended": {"episodes": 4}}',
    "ended at no number": b'{"format": 4, "config": {}, "starts": [], "ended": {"episodes": 4, "steps": null}}',
    "settings of a list": b'{"format": 4, "config": [], "starts": []}',
    "unknown settings": b'{"format": 4, "config": {"colour": "red"}, "starts": []}',
    "wrong settings": b'{"format": 4, "config": {"episodes": -1}, "starts": []}',
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_record_is_refused_in_one_line(run_dir: Path, config: Config, damage: str) -> None:
    content = DAMAGED[damage]
    if content is None:
        (run_dir / "run.json").unlink()
    else:
        (run_dir / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=r"run\.json") as caught:
        resume(run_dir, config)
    assert_one_line(caught.value)
    record_start(run_dir, config)  # a run that starts writes it again
    assert resume(run_dir, config) == config


@pytest.mark.parametrize("setting", [field.name for field in dataclasses.fields(Config)])
def test_every_setting_of_a_wrong_kind(run_dir: Path, config: Config, setting: str) -> None:
    for wrong in WRONG:
        change(run_dir, config={**dataclasses.asdict(config), setting: wrong})
        try:
            resume(run_dir, config)  # some of them are valid for some settings
        except InputError as error:
            assert_one_line(error)


def test_code_that_run_json_names_must_be_repeated(run_dir: Path, config: Config) -> None:
    change(run_dir, config={**dataclasses.asdict(config), "env": "os:system", "env_args": {}})
    with pytest.raises(InputError, match="repeat it: --env os:system"):
        resume(run_dir, config)
    assert resume(run_dir, config, env="os:system").env == "os:system"


def test_the_format_is_written_down(run_dir: Path) -> None:
    assert json.loads((run_dir / "run.json").read_text())["format"] == FORMAT == 4
