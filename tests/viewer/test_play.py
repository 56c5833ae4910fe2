"""Watching and playing: episodes step by step, keys, the command line of play.py, and the optimal player."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import save_untrained

from blob.optimal_player import best_q_values
from blob_env import MOVES, BlobEnv
from config import Config
from console.errors import InputError
from environments.known import action_names
from environments.make import make_env, same_game
from play import main, name_of, parse_arguments, random_q_values, read_opponent
from storage.model_file import SHIPPED_MODEL, SavedModel, read_model
from viewer.episode import Episode
from viewer.keys import action_keys, actions_help
from viewer.playback import FOREVER, Playback

ROOT = Path(__file__).parent.parent.parent


class Stairs(gym.Env):
    """Three stairs: action 1 climbs one for a reward of 10, action 0 stays for -1, which is illegal at the bottom. The
    action space starts at 3."""

    observation_space = gym.spaces.Box(0, 9, (1,), np.float32)
    action_space = gym.spaces.Discrete(2, start=3)
    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        self.seeds.append(seed)
        self.at = 0
        return self._observe()

    def _observe(self) -> tuple[np.ndarray, dict]:
        return np.array([self.at], np.float32), {"action_mask": np.array([self.at > 0, True], np.int8)}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        action -= 3
        self.at += int(action)
        observation, info = self._observe()
        return observation, 10.0 if action else -1.0, self.at == 3, False, info

    def render(self) -> Any:
        if self.render_mode == "ansi":
            return f"at {self.at}"
        return np.full((40, 60, 3), 60 * self.at, np.uint8)


def climb(observations: np.ndarray) -> np.ndarray:
    return observations * [0, 1] + [0.5, 1]


def stay(observations: np.ndarray) -> np.ndarray:
    return np.tile([9.0, 1.0], (len(observations), 1))


def test_an_episode_by_hand() -> None:
    episode = Episode(Stairs(), stay, "stays")
    episode.reset(5)
    assert (episode.greedy, str(episode)) == (1, "return 0, 0 steps")  # staying is illegal at the bottom
    assert not episode.is_legal(0) and episode.values is not None and episode.values.tolist() == [9, 1]
    episode.step()
    episode.step()
    assert (episode.greedy, episode.total, episode.length) == (0, 9, 2)
    episode.step(1)
    episode.step(1)
    assert (episode.total, episode.length, episode.ending) == (29, 4, "terminated")
    episode.reset(6)
    assert (episode.total, episode.length, episode.ending) == (0, 0, "")


class Script:
    """A screen with a given sequence of keys, which notes the lengths of the episodes and the times to wait."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = iter(keys)
        self.shown: list[list[int]] = []
        self.waits: list[float] = []

    def show(self, episodes: Sequence[Episode]) -> None:
        self.shown.append([episode.length for episode in episodes])

    def wait(self, seconds: float) -> str:
        self.waits.append(seconds)
        return next(self.keys)

    def close(self) -> None: ...


def play_keys(keys: Sequence[str], count: int = 1, actions: dict[str, int] | None = None) -> tuple[Script, Stairs]:
    env = Stairs()
    screen = Script(keys)
    episodes = [Episode(env, climb, "climber")]
    if actions:
        episodes.insert(0, Episode(Stairs(), None, "you"))
    Playback(episodes, screen, 2.0, actions).play(7, count)
    assert next(screen.keys, None) is None, "some keys were not read"
    return screen, env


def test_it_plays_on_without_keys(capsys: pytest.CaptureFixture[str]) -> None:
    screen, env = play_keys([""] * 8, count=2)
    assert env.seeds == [7, 8]
    assert screen.shown == [[0], [1], [2], [3]] * 2
    assert screen.waits == [0.5, 0.5, 0.5, 2.0] * 2  # the end stays for four frames
    assert capsys.readouterr().out == "".join(f"episode {i}: return 30, 3 steps, terminated\n" for i in (1, 2))


@pytest.mark.parametrize(
    ("keys", "shown", "waits"),
    [
        (["space", "space", "", "", "", ""], [0, 0, 0, 1, 2, 3], [0.5, FOREVER, 0.5, 0.5, 0.5, 2]),
        ([".", ".", ".", "."], [0, 1, 2, 3], [0.5, FOREVER, FOREVER, FOREVER]),
        (["=", "-", "-", "", "", "", ""], [0, 0, 0, 0, 1, 2, 3], [1 / 2, 1 / 3, 1 / 2, 3 / 4, 3 / 4, 3 / 4, 3]),
        (["x", "", "", "", ""], [0, 0, 1, 2, 3], [0.5, 0.5, 0.5, 0.5, 2]),
    ],
    ids=["pause", "step", "pace", "no meaning"],
)
def test_keys(keys: list[str], shown: list[int], waits: list[float]) -> None:
    screen, _ = play_keys(keys)
    assert [lengths[0] for lengths in screen.shown] == shown
    assert screen.waits == pytest.approx(waits)


def test_restart_next_and_quit(capsys: pytest.CaptureFixture[str]) -> None:
    screen, env = play_keys(["", "r", "", "n", "q"], count=5)
    assert env.seeds == [7, 7, 8] and screen.shown == [[0], [1], [0], [1], [0]]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == printed[1] == "episode 1: return 10, 1 step, stopped"
    assert printed[2:] == ["episode 2: return 0, 0 steps, stopped"]


def test_a_person_plays(capsys: pytest.CaptureFixture[str]) -> None:
    # 0 is illegal at the bottom. The model takes one step after each of the person's, and ends before.
    keys = ["0", "1", "", "0", "1", "1", ""]
    screen, _ = play_keys(keys, actions={"0": 0, "1": 1})
    assert screen.shown == [[0, 0], [0, 0], [1, 1], [1, 1], [2, 2], [3, 3], [4, 3]]
    assert screen.waits == [FOREVER] * 6 + [2.0]
    printed = capsys.readouterr().out
    assert printed == "episode 1: you: return 29, 4 steps, terminated; climber: return 30, 3 steps, terminated\n"


def test_a_key_held_down_does_not_skip_the_last_frame() -> None:
    screen, env = play_keys(["1", "1", "1", "1", "1", "", "q"], 2, actions={"1": 1})
    assert env.seeds == [7, 8]
    assert screen.shown == [[0, 0], [1, 1], [2, 2], [3, 3], [3, 3], [3, 3], [0, 0]]


def test_the_speed_is_limited() -> None:
    screen, _ = play_keys(["="] * 40 + ["q"])
    assert min(screen.waits) == 0.001


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"env_args": {"size": 10, "observation": "offsets"}}, True),
        ({}, {"env_args": {"size": 9}}, False),
        ({}, {"max_episode_steps": 50}, False),
        ({"env": "CartPole-v1"}, {"env": "CartPole-v1", "seed": 5}, True),
        ({"env": "CartPole-v1"}, {}, False),
    ],
)
def test_the_same_game(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert same_game(Config(**one), Config(**other)) == same


def test_bad_opponents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = tmp_path / "own.model", tmp_path / "other.model"
    save_untrained(own, Config(env_args={"size": 4, "enemy_moves": True}))
    save_untrained(other, Config(env_args={"size": 5}))
    for versus, words in (
        ("optimal", "--versus optimal needs a Blob-v0"),
        (str(other), "other.model plays Blob-v0 with {'size': 5} and its own steps at most, not Blob-v0 with"),
        ("nothing.model", "--versus: there is no model file nothing.model"),
        ("optimum", "there is no model file optimum.* did you mean optimal"),
    ):
        monkeypatch.setattr(sys, "argv", ["play.py", str(own), "--versus", versus])
        with pytest.raises(InputError, match=words):
            read_opponent(parse_arguments(), read_model(own))


def test_a_random_opponent_depends_on_the_seed_alone() -> None:
    env, observations = gym.make("CartPole-v1"), np.zeros((3, 4), np.float32)
    one, same, other = (random_q_values(env, seed) for seed in (1, 1, 2))
    first = one(observations)
    assert first.shape == (3, 2) and len(np.unique(first)) == 6
    np.testing.assert_array_equal(first, same(observations))
    assert not np.array_equal(first, other(observations)) and not np.array_equal(first, one(observations))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("models/Blob-v0-seed1-20260101-000000/best.model", "best, Blob-v0-seed1-20260101-000000"),
        ("models/Blob-v0-seed1-20260101-000000/last.model", "last, Blob-v0-seed1-20260101-000000"),
        ("models/blob.model", "blob"),
    ],
)
def test_what_differs_between_models_comes_first_in_their_names(path: str, name: str) -> None:
    nothing: Any = None
    saved = SavedModel(Path(path), nothing, ())
    assert name_of(saved) == name


def test_the_default_model(tmp_path: Path) -> None:
    """Without arguments, `play.py` plays the project's own model, from any folder."""
    assert SHIPPED_MODEL == ROOT / "models" / "blob.model"
    if not SHIPPED_MODEL.is_file():
        pytest.skip("there is no models/blob.model")
    env = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    played = subprocess.run(
        [sys.executable, str(ROOT / "play.py")], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert played.returncode == 0, played.stderr
    assert [line.split(":")[0] for line in played.stdout.splitlines() if line.startswith("episode ")] == [
        f"episode {number}" for number in range(1, 6)
    ]


@pytest.mark.parametrize(
    ("against_itself", "error", "raised"),
    [(False, None, None), (True, None, None), (False, InputError, SystemExit), (False, RuntimeError, RuntimeError)],
)
def test_every_environment_is_closed(
    against_itself: bool,
    error: type[Exception] | None,
    raised: type[BaseException] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "x.model"
    save_untrained(path, Config(env_args={"size": 4}, network="dense"))
    versus = str(path) if against_itself else "optimal"
    flags = ["--versus", versus, "--render", "ansi", "--fps", "1000", "--episodes", "1"]
    monkeypatch.setattr(sys, "argv", ["play.py", str(path), *flags])
    monkeypatch.setattr("play.end_quietly", lambda: None)
    made, closed, make = [], [], BlobEnv.__init__

    def make_and_note(env: BlobEnv, **options: Any) -> None:
        make(env, **options)
        made.append(id(env))

    def fail(*_: object) -> None:
        raise error("it fails") if error else AssertionError

    monkeypatch.setattr(BlobEnv, "__init__", make_and_note)
    monkeypatch.setattr(BlobEnv, "close", lambda env: closed.append(id(env)))
    if error:
        monkeypatch.setattr(Playback, "play", fail)
    with pytest.raises(raised) if raised else contextlib.nullcontext():
        main()
    assert len(made) == 3  # for the metadata, and one for each player
    assert sorted(made) == sorted(closed)


def test_keys_of_actions() -> None:
    blob = action_keys(action_names(gym.make("Blob-v0")))
    rows = ["789", "456", "123"]
    for down, row in enumerate(rows, -1):
        for right, key in enumerate(row, -1):
            assert MOVES[blob[key]].tolist() == MOVES[blob[f"[{key}]"]].tolist() == [down, right]
    assert MOVES[blob["left"]].tolist() == [0, -1] and MOVES[blob["down"]].tolist() == [1, 0]
    pong = action_names(make_env(Config.from_preset(env="ALE/Pong-v5")))
    assert pong == ["stay", "fire", "right", "left", "rightfire", "leftfire"]
    assert action_keys(["left", "right", "shoot", "jump"]) == {
        **dict.fromkeys(("left", "4", "[4]"), 0), **dict.fromkeys(("right", "6", "[6]"), 1), "2": 2, "3": 3,
    }  # fmt: skip
    assert action_keys(pong)["space"] == 1
    assert action_keys(action_names(Stairs())) == {"0": 0, "1": 1}
    for name, n_actions in {"CartPole-v1": 2, "Taxi-v4": 6, "LunarLander-v3": 4}.items():
        names = action_names(gym.make(name))
        assert len(names) == n_actions and set(action_keys(names).values()) == set(range(n_actions))


@pytest.mark.parametrize("move_reward", [-1.0, 0.0])
def test_the_optimal_player_wins_as_fast_as_possible(move_reward: float) -> None:
    # If moves cost nothing, all safe paths to the food have the same return: it must take a shortest one.
    env = make_env(Config(env_args={"size": 6, "move_reward": move_reward}))
    episode = Episode(env, best_q_values(env))
    for seed in range(30):
        episode.reset(seed)
        blob = env.unwrapped
        assert isinstance(blob, BlobEnv)
        player, food, enemy = blob.positions[0]
        distance = np.abs(player - food).max()
        while not episode.ending:
            episode.step()
        detour = int((np.abs(player - enemy).max() <= distance) and distance > 1)
        assert episode.ending == "won" and distance <= episode.length <= distance + detour


def test_keys_are_named_as_people_say_them() -> None:
    names = ["up left", "fire", "jump", "other"]
    keys = {"7": 0, "[7]": 0, "space": 1, "2": 2}
    assert actions_help(names, keys) == ["up left: 7, keypad 7", "fire: space", "jump: 2", "other: has no key"]
