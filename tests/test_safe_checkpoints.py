"""Damaged and forged checkpoints: reading one ends in one clear line, in the one before it, or in a run going on."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_safe_files import assert_one_line, many

from checkpoint import Checkpoints, newest_manifest, newest_whole, refused_if_misfit
from config import Config
from replay_memory import ReplayMemory
from run import Run
from startup import InputError
from train import train


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
    """Cut or changed anywhere, or missing: the newest is known to be damaged, and the one before is used if it does not
    need the same file."""
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
    if victim == "steps-000000000000-000000000003.safetensors":  # both need it
        with pytest.raises(InputError, match="no whole checkpoint"):
            newest_whole(checkpoints)
        return
    number, state = newest_whole(checkpoints)
    assert number == (1 if victim.endswith("0000.json") or victim == "state-000000000000.safetensors" else 0)
    np.testing.assert_array_equal(state["a"], np.arange(5))
    assert state["b"][:4] == [1, 2.5, None, "text"] and state["b"][4]["c"].shape == (0, 2)


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
        resumed = Run(run.agent, run.envs, run.log_dir)
        with resumed:
            resumed.begin([])
    except InputError as error:
        assert_one_line(error)
    finally:
        path.unlink(missing_ok=True)


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
    assert newest_whole(checkpoints)[0] == 1
    checkpoints.write(3, {})  # what an older one says does not keep the next from being written
    assert newest_whole(checkpoints) == (3, {})


@pytest.mark.parametrize("end", [None, "x", [], 10**30])
def test_a_segment_that_ends_nowhere(tmp_path: Path, end: Any) -> None:
    checkpoints = lived(tmp_path)
    manifest = newest_manifest(tmp_path)
    manifest["segments"][0]["end"] = end
    text = json.dumps(manifest)
    path = tmp_path / "checkpoint-000000000001.json"
    path.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    with pytest.raises(InputError, match="does not fit"), refused_if_misfit(tmp_path):
        list(checkpoints.segments(1))
