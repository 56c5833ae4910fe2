"""Files of strangers: whatever a `.model` file holds, reading it ends in a model or in one clear line, and it runs
nothing, writes nothing and takes little memory."""

import dataclasses
import json
import pickle
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import DQNAgent
from config import Config
from console.errors import InputError
from console.messages import one_line
from storage.loading import load_network, make_saved_env
from storage.model_file import DIGEST_SIZE, LARGEST_JSON, MEMBER, WEIGHTS, ModelInfo, read_model, seal
from train import train

many = settings(max_examples=100, deadline=None, derandomize=True)
CONFIG = Config(env_args={"size": 4}, seed=3)
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def model(saved_model: tuple[Path, DQNAgent, ModelInfo]) -> Path:
    return saved_model[0]


def load(path: Path) -> None:
    """Load a network as play.py and evaluate.py do."""
    saved = read_model(path)
    with closing(make_saved_env(saved)) as env:
        load_network(saved, env)


def assert_one_line(error: BaseException) -> None:
    """The user sees one line of printable characters."""
    text = one_line(str(error))
    assert text and text.isprintable() and len(text) < 1_100


def assert_refused(path: Path) -> str:
    """The file is refused in one line that names it, or the name in it. Returns the line."""
    with pytest.raises(InputError) as caught:
        load(path)
    assert_one_line(caught.value)
    text = str(caught.value)
    assert str(path) in text or "--" in text or "environment" in text
    return text


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """The peak of the process's memory during a test is little more than its memory before."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process's memory can be reset under Linux only")
    Path("/proc/self/clear_refs").write_text("5")
    before = most_memory()
    yield
    assert most_memory() - before < 300_000_000


def most_memory() -> int:
    """The peak of the process's memory in bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return 1_000 * int(line.split()[1])


@many
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_anywhere(model: Path, share: float) -> None:
    content = model.read_bytes()
    path = model.with_name("cut.model")
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(path)


@many
@given(data=st.data())
def test_bytes_changed_anywhere(model: Path, data: st.DataObject) -> None:
    content = bytearray(model.read_bytes())
    # The archive's own structures, at its end, as often as all the rest.
    begin = data.draw(st.sampled_from([0, len(content) - 1_200]))
    for at in data.draw(st.lists(st.integers(begin, len(content) - 1), min_size=1, max_size=4, unique=True)):
        content[at] ^= data.draw(st.integers(1, 255))
    path = model.with_name("changed.model")
    path.write_bytes(content)
    assert_refused(path)


@many
@given(data=st.binary(max_size=2_000))
def test_anything(model: Path, data: bytes) -> None:
    path = model.with_name("anything.model")
    path.write_bytes(data)
    assert_refused(path)


def members_of(model: Path) -> Members:
    with zipfile.ZipFile(model) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def forge(to: Path, members: Members, **options: Any) -> Path:
    """Write members as someone who knows the format would: with the right digest."""
    with zipfile.ZipFile(to, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = bytes(DIGEST_SIZE)
    seal(to)
    return to


def test_a_forged_file_that_changes_nothing_is_read(model: Path) -> None:
    load(forge(model.with_name("same.model"), members_of(model)))


@many
@given(data=st.data())
def test_forged_weights(model: Path, data: st.DataObject) -> None:
    # The digest is right: only the reader of the weights stands between them and the program.
    members = members_of(model)
    weights = bytearray(members[WEIGHTS])
    header = int.from_bytes(weights[:8], "little")
    for at in data.draw(st.lists(st.integers(0, header + 7), min_size=1, max_size=6, unique=True)):
        weights[at] = data.draw(st.integers(0, 255))
    path = forge(model.with_name("forged.model"), {**members, WEIGHTS: bytes(weights)})
    try:
        load(path)  # a blank in the header may have become another blank
    except InputError as error:
        assert_one_line(error)


WRONG: list[Any] = [None, -1, 1e400, 10**400, "../../x", "x" * 10_000, [], {"a": {"b": []}}, True, "\x1b[31mred\n"]


@pytest.mark.parametrize("setting", [field.name for field in fields(Config)])
def test_every_setting_of_a_wrong_kind(model: Path, setting: str) -> None:
    members = members_of(model)
    agent = json.loads(members[MEMBER])
    for wrong in WRONG:
        changed = {**agent, "config": {**agent["config"], setting: wrong}}
        path = forge(model.with_name("setting.model"), {**members, MEMBER: json.dumps(changed).encode()})
        try:
            load(path)  # some of them are valid for some settings
        except InputError as error:
            assert_one_line(error)


def agent_json(**changes: Any) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        return {**members, MEMBER: json.dumps({**json.loads(members[MEMBER]), **changes}).encode()}

    return change


def config_json(**changes: Any) -> Callable[[Members], Members]:
    return agent_json(config={**asdict(CONFIG), **changes})


def weights_of(**arrays: np.ndarray) -> Callable[[Members], Members]:
    return lambda members: {**members, WEIGHTS: safetensors.numpy.save(arrays)}


def raw(member: str, content: bytes) -> Callable[[Members], Members]:
    return lambda members: {**members, member: content}


class Bomb:
    """Unpickling it would leave a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("/tmp/unpickled"),)


def header(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


HUGE = '{"0000":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,4000000000000000000]}}'
ATTACKS: dict[str, Callable[[Members], Members]] = {
    "environment of a module": config_json(env="os:system", env_args={}),
    "environment of a file": config_json(env="examples.kuhn_poker:KuhnPoker", env_args={}),
    "environment of a module and an ID": config_json(env="antigravity:CartPole-v1", env_args={}),
    "environment that is not registered": config_json(env="Nothing-v0", env_args={}),
    "network file": config_json(network="/etc/passwd.py:main"),
    "network file beside it": config_json(network="evil.py:network"),
    "path among the arguments": config_json(env="Ant-v5", env_args={"xml_file": "/tmp/evil.xml"}),
    "file among the arguments": config_json(env="Ant-v5", env_args={"xml_file": "evil.xml"}),
    "Windows path among the arguments": config_json(env_args={"observation": "C:\\x"}),
    "huge board": config_json(env_args={"size": 1_000}),
    "huger board": config_json(env_args={"size": 10**12}),
    "huge stack": config_json(frame_stack=100_000),
    "largest stack of the largest board": config_json(frame_stack=8, env_args={"size": 1_000}),
    "long argument": config_json(env="FrozenLake-v1", env_args={"desc": ["F" * 5_000] * 5}),
    "unknown argument": config_json(env_args={"size": 4, "evil": 1}),
    "no text": agent_json(versions={"keras": 3}),
    "control characters": agent_json(observation_space="\x1b]0;x\x07\n\n"),
    "long texts": agent_json(observation_space="x" * 500_000),
    "unknown field": agent_json(code="import os"),
    "no config": agent_json(config=None),
    "too large JSON": raw(MEMBER, b" " * (LARGEST_JSON + 1) + b"{}"),
    "deep JSON": raw(MEMBER, b"[" * 100_000),
    "long number": raw(MEMBER, b'{"config": ' + b"9" * 100_000 + b"}"),
    "no JSON": raw(MEMBER, b"\xff\xfe"),
    "a list": raw(MEMBER, b"[]"),
    "a pickle for JSON": raw(MEMBER, pickle.dumps(Bomb())),
    "a pickle for weights": raw(WEIGHTS, pickle.dumps(Bomb())),
    "weights of huge shape": raw(WEIGHTS, header(HUGE)),
    "weights of a huge header": raw(WEIGHTS, (2**62).to_bytes(8, "little") + b"{}"),
    "weights of a negative shape": raw(
        WEIGHTS, header('{"0000":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}') + bytes(4)
    ),
    "weights that overlap": raw(
        WEIGHTS,
        header(
            '{"0":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"1":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
        )
        + bytes(4),
    ),
    "no weights": weights_of(),
    "other weights": weights_of(a=np.zeros((2, 2), np.float32)),
    "empty weights": raw(WEIGHTS, b""),
    "a missing member": lambda members: {k: v for k, v in members.items() if k != WEIGHTS},
    "no settings": lambda members: {k: v for k, v in members.items() if k != MEMBER},
    "another member": raw("evil.py", b"import os"),
    "a member in the folder above": raw("../evil.py", b"import os"),
    "a member in the root": raw("/tmp/evil.py", b"import os"),
    "a member with control characters": raw("\x1b[31m.py", b""),
    "nothing": lambda members: {},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks(model: Path, attack: str) -> None:
    assert_refused(forge(model.with_name("attack.model"), ATTACKS[attack](members_of(model))))
    assert not Path("/tmp/unpickled").exists() and not (model.parent.parent / "evil.py").exists()


def test_a_zip_bomb(model: Path) -> None:
    members = {**members_of(model), MEMBER: b" " * 50_000_000}
    path = forge(model.with_name("bomb.model"), members, compression=zipfile.ZIP_DEFLATED)
    assert "packed" in assert_refused(path)


def test_weights_to_start_from_are_checked_too(model: Path) -> None:
    path = forge(model.with_name("packed.model"), members_of(model), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="packed"):
        train(dataclasses.replace(CONFIG, init_from=str(path), logs_dir=str(model.parent / "logs")))


def test_a_link_and_a_name_that_occurs_twice(model: Path) -> None:
    members = members_of(model)
    path = model.with_name("link.model")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, content)
        archive.comment = bytes(DIGEST_SIZE)
    seal(path)
    assert "linked" in assert_refused(path)
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name, content in [*members.items(), (MEMBER, b"{}")]:
            archive.writestr(name, content)
        archive.comment = bytes(DIGEST_SIZE)
    seal(path)
    assert_refused(path)


@pytest.mark.parametrize("size", [0, 2**40, 2**63])
def test_declared_sizes(model: Path, size: int) -> None:
    # Both sizes in the central directory (at offsets 20 and 24), for each member.
    content = bytearray(model.read_bytes())
    at = content.find(b"PK\1\2")
    while at >= 0:
        content[at + 20 : at + 28] = (min(size, 2**32 - 2).to_bytes(4, "little")) * 2
        at = content.find(b"PK\1\2", at + 1)
    path = model.with_name("sizes.model")
    path.write_bytes(content)
    seal(path)
    assert_refused(path)


def test_settings_that_the_user_repeats_are_trusted(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent.parent)
    change = config_json(env="examples.kuhn_poker:KuhnPoker", env_args={})
    path = forge(model.with_name("kuhn.model"), change(members_of(model)))
    with pytest.raises(InputError, match=r"repeat it: --env examples\.kuhn_poker:KuhnPoker"):
        read_model(path)
    assert read_model(path, {"env": "examples.kuhn_poker:KuhnPoker"}).info.config.env.endswith("KuhnPoker")
    with pytest.raises(InputError, match="repeat it"):
        read_model(path, {"env": "examples.kuhn_poker:Other"})
