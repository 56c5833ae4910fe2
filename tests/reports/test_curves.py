"""Reading a run's log folder: its event files, whole, damaged and hostile."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from config import Config
from console.errors import InputError
from reports.curves import read_images, read_points, read_run, read_values
from reports.findings import find_problems
from training.tensorboard_callback import EpisodeTensorBoard


def test_windows_with_gaps_are_left_out(tmp_path: Path) -> None:
    """A full disk leaves such windows. A folder named like an event file does no harm."""
    whole = {f"reward_{key}": -200.0 for key in ("avg", "min", "max")}
    whole |= {"epsilon": 1.0, "steps": 9.0, "updates": 1.0, "episode_length": 20.0, "greedy_avg": -200.0}
    events = EpisodeTensorBoard(tmp_path, Config())
    for window in range(4):
        missing = {1: "updates", 2: "reward_max"}.get(window)
        numbers = {name: value for name, value in whole.items() if name != missing}
        events.on_epoch_end(window, {"episode": 50.0 * window, **numbers})
    events.on_train_end()
    (tmp_path / "events.out.tfevents.9").mkdir()
    record = {"format": 4, "config": dataclasses.asdict(Config()), "starts": []}
    (tmp_path / "run.json").write_text(json.dumps(record))
    found = read_run(tmp_path)
    assert {tag: len(values) for tag, values in found.curves.items()} == dict.fromkeys(found.curves, 2)
    assert found.episodes["greedy/avg"].tolist() == found.episodes["reward/avg"].tolist() == [0, 150]
    assert find_problems(found)


def test_damaged_files_are_read_up_to_the_damage(tmp_path: Path) -> None:
    """As TensorBoard's own loader does, wherever a file ends and whichever byte is wrong."""
    tensorboard = EpisodeTensorBoard(tmp_path, Config())
    for window in range(3):
        tensorboard.on_epoch_end(window, {"episode": 50.0 * window, "loss": 1.0})
    tensorboard.on_train_end()
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    damaged = [content[:size] for size in range(0, len(content), 7)]
    damaged += [bytes([*content[:i], content[i] ^ 4, *content[i + 1 :]]) for i in range(0, len(content), 7)]
    counts = set()
    for part in [content, *damaged]:
        path.write_bytes(part)
        found = [(step, value.tag, value.tensor) for step, value in read_values(tmp_path)]
        events = EventFileLoader(str(path)).Load()
        assert found == [(event.step, value.tag, value.tensor) for event in events for value in event.summary.value]
        counts.add(len(found))
    assert counts == {0, 1, 2, 3, 4}  # the layout of charts, and three windows


@pytest.mark.parametrize(
    ("ended", "limits", "finished"),
    [
        ({"episodes": 500, "steps": 9_000}, {"episodes": 500}, True),
        ({"episodes": 30, "steps": 9_000}, {"episodes": 500, "steps": 9_000}, True),
        ({"episodes": 30, "steps": 8_999}, {"episodes": 500, "steps": 9_000}, False),  # it was extended
        (None, {}, False),
    ],
)
def test_a_finished_run(tmp_path: Path, ended: dict[str, int] | None, limits: dict[str, Any], finished: bool) -> None:
    record = {"format": 4, "config": dataclasses.asdict(Config(**limits)), "starts": []}
    (tmp_path / "run.json").write_text(json.dumps(record if ended is None else {**record, "ended": ended}))
    assert read_run(tmp_path).finished == finished


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run\.json"):
        read_run(tmp_path)


def write_event(folder: Path, **fields: Any) -> None:
    """Write an event file with one value, by default of tag a/b."""
    value = Summary.Value(**{"tag": "a/b", **fields})
    writer = EventFileWriter(str(folder))
    writer.add_event(Event(step=3, summary=Summary(value=[value])))
    writer.close()


def metadata(plugin: str) -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))


def test_events_of_a_stranger(tmp_path: Path) -> None:
    """A small file that claims to hold a lot, texts in place of numbers, images with parts missing."""
    huge = make_tensor_proto([1.0])
    huge.tensor_shape.dim[0].size = 4_000_000_000
    scalars = metadata("scalars")
    text, empty, image = make_tensor_proto("x"), TensorProto(dtype=1), make_tensor_proto([b"1", b"2"])
    write_event(tmp_path, tensor=huge, metadata=scalars)
    write_event(tmp_path, tensor=text, metadata=scalars)
    write_event(tmp_path, tensor=empty, metadata=scalars)
    write_event(tmp_path, metadata=scalars)
    write_event(tmp_path, tensor=image, metadata=metadata("images"))
    write_event(tmp_path, tag="see/start", tensor=text, metadata=metadata("images"))
    assert list(read_images(tmp_path)) == []
    assert [point for point in read_points(tmp_path) if point[2] != 0] == []
    write_event(tmp_path, tensor=make_tensor_proto(2.5), metadata=scalars)
    assert ("a/b", 3, 2.5) in list(read_points(tmp_path))
