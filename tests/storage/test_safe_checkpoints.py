"""Damaged and forged checkpoints: reading one ends in one clear line, in the one before it, or in a run going on."""

import copy
import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_safe_files import assert_one_line, many

from config import Config
from console.errors import InputError
from replay_memory import ReplayMemory
from storage.checkpoint import (
    Checkpoints,
    checkpoint_errors_as_input_error,
    checkpoint_numbers,
    newest_intact,
    newest_manifest,
)
from storage.run_folder import find_run, settings_to_resume
from train import train
from training.run import Run


def lived(folder: Path) -> Checkpoints:
    """Two checkpoints of a memory that went on in between, with a state of all kinds."""
    memory = ReplayMemory(8, 2, np.zeros(3), 2)
    checkpoints = Checkpoints(folder, memory)
    for number in range(2):
        for _ in range(3):
            memory.append(np.ones((2, 3)), [0, 1], [0, 1], [False] * 2, [True, False], np.zeros((2, 3)))
        checkpoints.write(number, {"a": np.arange(5), "b": [1, 2.5, None, "text", {"c": np.zeros((0, 2))}]})
    return checkpoints


@many
@given(data=st.data())
def test_damaged_checkpoints(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A file is cut or changed anywhere, or missing: the newest checkpoint is known to be damaged, the one before is
    used. Segments are needed by both, so there are two copies of each."""
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints = lived(folder)
    victim = data.draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
    content = bytearray((folder / victim).read_bytes())
    kind = data.draw(st.sampled_from(["cut", "changed", "missing", "link"]))
    if kind == "cut":
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    elif kind == "changed":
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / victim).unlink()
    if kind == "link":
        (folder / victim).symlink_to("/etc/passwd")
    elif kind != "missing":
        (folder / victim).write_bytes(content)
    number, state = newest_intact(checkpoints)
    assert number == (0 if victim in ("checkpoint-000000000001.json", "state-000000000001.safetensors") else 1)
    segments = list(checkpoints.segments(number))
    assert np.concatenate([segment["steps"] for segment in segments]).tolist() == list(range(3 * number + 3))
    np.testing.assert_array_equal(state["a"], np.arange(5))
    assert state["b"][:4] == [1, 2.5, None, "text"] and state["b"][4]["c"].shape == (0, 2)


def test_both_copies_damaged(tmp_path: Path) -> None:
    checkpoints = lived(tmp_path)
    for path in tmp_path.glob("*steps-000000000000-000000000003.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="no whole checkpoint"):
        newest_intact(checkpoints)


def test_nothing_else_is_deleted(tmp_path: Path) -> None:
    """Files that somebody keeps there stay; what a broken-off write left does not."""
    checkpoints = lived(tmp_path)
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "folder").mkdir()
    (tmp_path / ".abc.part").write_text("half")
    for number in range(2, 5):
        checkpoints.write(number, {})
    assert (tmp_path / "thesis.txt").exists() and (tmp_path / "folder").exists()
    assert not (tmp_path / ".abc.part").exists()
    assert checkpoint_numbers(tmp_path) == [4, 3]


def test_what_could_not_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state does not fit on the disk, the segment before it did: it goes, or every try would fill the disk more."""
    memory = ReplayMemory(8, 2, np.zeros(3), 2)
    memory.append(np.ones((2, 3)), [0, 1], [0, 1], [False] * 2, [True, False], np.zeros((2, 3)))
    checkpoints = Checkpoints(tmp_path / "checkpoints", memory)
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if len(data) > 50_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    for number in range(3):
        with pytest.raises(OSError, match="No space"):
            checkpoints.write(number, {"large": np.zeros(10_000)})
        assert list((tmp_path / "checkpoints").iterdir()) == []
    checkpoints.write(3, {})
    assert newest_intact(checkpoints)[0] == 3


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, Any]]:
    """A run that was broken off, and its newest manifest."""
    folder = tmp_path_factory.mktemp("run")
    config = Config(
        env_args={"size": 4}, seed=1, lanes=2, episodes=40, learn_start=9, evaluate_episodes=2, network="dense",
        models_dir=str(folder / "models"), logs_dir=str(folder / "logs"), memory_size=99,
    )  # fmt: skip
    run = train(config)
    return run, newest_manifest(run.log_dir / "checkpoints")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_forged_states(broken_off: tuple[Run, dict[str, Any]], data: st.DataObject) -> None:
    """What a checkpoint says is forged, with the right digests: resuming ends in one line, or goes on."""
    run, manifest = broken_off
    forged = copy.deepcopy(manifest)
    place = forged["state"]["dict"]
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        if not place[key] or not isinstance(place[key], dict | list) or data.draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
    if data.draw(st.booleans()):
        del place[key]
    else:
        place[key] = data.draw(
            st.sampled_from([None, -1, 10**30, "x", [], {"dict": {}}, {"array": "state.masks"}, True])
        )
    text = json.dumps(forged)
    path = run.log_dir / "checkpoints" / f"checkpoint-{10**11:012}.json"
    path.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    try:
        settings_to_resume(run.log_dir, {"models_dir": run.config.models_dir, "logs_dir": run.config.logs_dir})
        resumed = Run(run.agent, run.envs, run.log_dir)
        with resumed:
            observations, masks = resumed.begin([])
            for _ in range(3):
                actions = run.agent.act(observations, 0.5, masks)
                next_, rewards, terminated, truncated, _ = run.envs.step(actions)
                run.agent.remember(observations, actions, rewards, terminated, truncated, next_)
                resumed.count(rewards, terminated | truncated, run.agent.learn())
                observations = next_
            resumed.end(observations, masks)
    except InputError as error:
        assert_one_line(error)
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["checkpoints", "run.json", ".lock", "events.out.tfevents.9"])
def test_links_out_of_a_run(tmp_path: Path, name: str) -> None:
    run_dir = tmp_path / "logs" / "run"
    (run_dir / "checkpoints").mkdir(parents=True)
    assert find_run("run", str(tmp_path / "logs")) == run_dir
    if name == "checkpoints":
        (run_dir / name).rename(tmp_path / "elsewhere")
    (run_dir / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        find_run("run", str(tmp_path / "logs"))


MANIFESTS: dict[str, Any] = {
    "a list": [],
    "nothing": {},
    "no arrays": {"state": {"dict": {}}, "segments": []},
    "a file elsewhere": {"state": 1, "arrays": {"file": "../x", "sha256": ""}, "segments": []},
    "a file in the root": {"state": 1, "arrays": {"file": "/etc/passwd", "sha256": ""}, "segments": []},
    "no name": {"state": 1, "arrays": {"file": 7, "sha256": ""}, "segments": []},
    "no segments": {"state": 1, "arrays": {"file": "state-0.safetensors", "sha256": ""}, "segments": 7},
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_forged_manifests(tmp_path: Path, name: str) -> None:
    checkpoints = lived(tmp_path)
    text = json.dumps(MANIFESTS[name])
    digest = hashlib.sha256(text.encode()).hexdigest()
    (tmp_path / "checkpoint-000000000002.json").write_text(f"{digest}\n{text}")
    assert newest_intact(checkpoints)[0] == 1
    checkpoints.write(3, {})  # what an older one says does not keep the next from being written
    assert newest_intact(checkpoints) == (3, {})


@pytest.mark.parametrize("end", [None, "x", [], 10**30])
def test_a_segment_that_ends_nowhere(tmp_path: Path, end: Any) -> None:
    checkpoints = lived(tmp_path)
    manifest = newest_manifest(tmp_path)
    manifest["segments"][0]["end"] = end
    text = json.dumps(manifest)
    path = tmp_path / "checkpoint-000000000001.json"
    path.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    with pytest.raises(InputError, match="does not fit"), checkpoint_errors_as_input_error(tmp_path):
        list(checkpoints.segments(1))
