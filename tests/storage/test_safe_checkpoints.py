"""Damaged and forged checkpoints: the run goes on from them or from the one before, or one clear line says why not."""

import copy
import errno
import hashlib
import json
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import append
from hypothesis import given, settings
from hypothesis import strategies as st
from test_safe_files import assert_one_line, many

from config import Config
from console.errors import InputError
from environments.lanes import make_lanes
from replay_memory import ReplayMemory
from storage.checkpoint import FORMAT, KEPT, Checkpoints, checkpoint_numbers, read_manifest
from storage.runs import find_run_to_resume
from train import train
from training.result import RunResult
from training.run import Run


def lived(folder: Path) -> Checkpoints:
    """Write two checkpoints of a memory that goes on in between, with a state of values of all kinds."""
    memory = ReplayMemory(8, 2, np.zeros(3), 2)
    checkpoints = Checkpoints(folder, memory)
    for number in range(2):
        for _ in range(3):
            append(memory, np.ones((2, 3)), [0, 1], [0, 1], [False] * 2, [True, False], np.zeros((2, 3)))
        checkpoints.write(number, {"a": np.arange(5), "b": [1, 2.5, None, "text", {"c": np.zeros((0, 2))}]})
    return checkpoints


def newest_manifest(folder: Path) -> dict[str, Any]:
    return read_manifest(folder / f"checkpoint-{checkpoint_numbers(folder)[0]:012}.json")


def write_manifest(folder: Path, number: int, manifest: Any) -> Path:
    """Write a manifest as someone who knows the format would: with the right digest."""
    text, path = json.dumps(manifest), folder / f"checkpoint-{number:012}.json"
    path.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    return path


def steps_of(segments: Iterable[dict[str, np.ndarray]]) -> list[int]:
    return np.concatenate([segment["steps"] for segment in segments]).tolist()


@many
@given(data=st.data())
def test_damaged_checkpoints(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A file is cut or changed anywhere, or missing: the damage to the newest checkpoint is noticed, and the one before
    is used. Both need the segments, so there are two copies of each."""
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
    number, state, segments = checkpoints.read_newest()
    assert number == (0 if victim in ("checkpoint-000000000001.json", "state-000000000001.safetensors") else 1)
    assert steps_of(segments) == list(range(3 * number + 3))
    np.testing.assert_array_equal(state["a"], np.arange(5))
    assert state["b"][:4] == [1, 2.5, None, "text"] and state["b"][4]["c"].shape == (0, 2)


def test_both_copies_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a segment that all checkpoints need: none is intact. Of one that the newest needs: the one before is used."""
    checkpoints = lived(tmp_path)
    first, second = (f"*steps-{first:012}-{first + 3:012}.safetensors" for first in (0, 3))
    for path in tmp_path.glob(second):
        path.write_bytes(path.read_bytes()[:-1])
    number, _, segments = checkpoints.read_newest()
    assert number == 0 and steps_of(segments) == [0, 1, 2]
    (warning,) = capsys.readouterr().err.splitlines()
    assert "warning: checkpoint 1 in" in warning and "is damaged: steps-000000000003-000000000006" in warning
    # The run goes on from there: the damaged one is put aside, and the next is whole.
    assert checkpoint_numbers(tmp_path) == [0] and (tmp_path / "checkpoint-000000000001.damaged").exists()
    checkpoints.write(2, {})
    number, _, segments = checkpoints.read_newest()
    assert number == 2 and steps_of(segments) == list(range(6))
    for path in tmp_path.glob(first):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="no intact checkpoint"):
        checkpoints.read_newest()


def test_steps_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing one takes several times its size in memory, and the replay memory may fill half of the machine's."""
    monkeypatch.setattr("storage.checkpoint.SEGMENT", 1)  # less than a step
    segments = list(lived(tmp_path).read_newest().segments)
    # The memory had forgotten the first steps by then; the first checkpoint needs their files.
    assert [segment["steps"].tolist() for segment in segments] == [[2], [3], [4], [5]]
    names = [f"steps-{step:012}-{step + 1:012}.safetensors" for step in range(6)]
    assert sorted(path.name for path in tmp_path.glob("steps-*")) == names


def test_segments_are_handed_out_once_and_freed(tmp_path: Path) -> None:
    segments = lived(tmp_path).read_newest().segments
    freed: list[weakref.ref[np.ndarray]] = []
    for segment in segments:
        assert all(reference() is None for reference in freed)
        freed = [weakref.ref(array) for array in segment.values()]
    del segment
    assert freed and all(reference() is None for reference in freed)
    assert list(segments) == []


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints, read, real = lived(tmp_path), [], Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert steps_of(checkpoints.read_newest().segments) == list(range(6))
    names = ["steps-000000000000-000000000003", "steps-000000000003-000000000006", "state-000000000001"]
    assert sorted(read) == sorted([f"{name}.safetensors" for name in names] + ["checkpoint-000000000001.json"])


def test_an_agent_without_a_memory(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, None)
    for number in range(3):
        checkpoints.write(number, {"table": np.full(3, number)})
    assert len(list(tmp_path.iterdir())) == 2 * KEPT
    number, state, segments = Checkpoints(tmp_path, None).read_newest()
    assert number == 2 and state["table"].tolist() == [2, 2, 2] and list(segments) == []


@pytest.mark.parametrize("version", [{}, {"format": 1}, {"format": 3}, {"format": None}], ids=str)
def test_other_formats_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], version: dict[str, Any]) -> None:
    """In one line, whichever of the checkpoints has one."""
    checkpoints = lived(tmp_path)
    for number in (1, 0):
        path = tmp_path / f"checkpoint-{number:012}.json"
        manifest = {key: value for key, value in read_manifest(path).items() if key != "format"}
        write_manifest(tmp_path, number, {**manifest, **version})
        with pytest.raises(InputError, match="was written by another version of this project: start the run again"):
            checkpoints.read_newest()
    assert capsys.readouterr().err == "" and len(checkpoint_numbers(tmp_path)) == 2


def test_nothing_else_is_deleted(tmp_path: Path) -> None:
    """A user's own files stay; leftovers of an interrupted write do not."""
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
    """The disk has room for the segment and none for the state: the segment is deleted, or every try would fill the
    disk more."""
    memory = ReplayMemory(8, 2, np.zeros(3), 2)
    append(memory, np.ones((2, 3)), [0, 1], [0, 1], [False] * 2, [True, False], np.zeros((2, 3)))
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
    assert checkpoints.read_newest().number == 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, dict[str, Any]]:
    """A run and its newest manifest."""
    folder = tmp_path_factory.mktemp("run")
    config = Config(
        env_args={"size": 4}, seed=1, lanes=2, episodes=40, learn_start=9, evaluate_episodes=2, network="dense",
        max_episode_steps=20, models_dir=str(folder / "models"), logs_dir=str(folder / "logs"), memory_size=99,
    )  # fmt: skip
    run = train(config)
    return run, newest_manifest(run.log_dir / "checkpoints")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_forged_states(finished: tuple[RunResult, dict[str, Any]], data: st.DataObject) -> None:
    """A checkpoint is forged, with the right digests: resuming ends in one line, or goes on."""
    run, manifest = finished
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
    path = write_manifest(run.log_dir / "checkpoints", 10**11, forged)
    agent = run.agent
    try:
        with (
            make_lanes(run.config, 2, resumable=True) as envs,
            Run(run.config, agent, envs, resume=run.log_dir) as resumed,
        ):
            observations, masks = resumed.begin()
            for _ in range(3):
                actions = agent.act(observations, masks, 0.5)
                step = envs.step(actions)
                agent.remember(observations, actions, step)
                resumed.count(step, agent.learn())
                observations, masks = step.next_observations, step.next_masks
            resumed.end()
    except InputError as error:
        assert_one_line(error)
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["checkpoints", "run.json", ".lock", "events.out.tfevents.9"])
def test_links_out_of_a_run(tmp_path: Path, name: str) -> None:
    run_dir = tmp_path / "logs" / "run"
    (run_dir / "checkpoints").mkdir(parents=True)
    (run_dir / "run.json").touch()
    assert find_run_to_resume("run", str(tmp_path / "logs")) == run_dir
    if name in ("checkpoints", "run.json"):
        (run_dir / name).rename(tmp_path / "elsewhere")
    (run_dir / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        find_run_to_resume("run", str(tmp_path / "logs"))


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
    checkpoints, manifest = lived(tmp_path), MANIFESTS[name]
    write_manifest(tmp_path, 2, {"format": FORMAT, **manifest} if isinstance(manifest, dict) else manifest)
    assert checkpoints.read_newest().number == 1
    checkpoints.write(3, {})  # the forged one does not keep the next from being written
    number, state, _ = checkpoints.read_newest()
    assert (number, state) == (3, {})


@pytest.mark.parametrize("end", [None, "x", [], 10**30, 3.0, True])
def test_a_segment_that_ends_nowhere(tmp_path: Path, end: Any, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = lived(tmp_path)
    manifest = newest_manifest(tmp_path)
    manifest["segments"][0]["end"] = end
    write_manifest(tmp_path, 1, manifest)
    assert checkpoints.read_newest().number == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert "checkpoint 1" in warning and "does not end where its manifest says" in warning
