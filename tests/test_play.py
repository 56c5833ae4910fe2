"""Watching and playing: an episode step by step, what keys do, and what screens show."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import save_untrained
from PIL import Image, ImageSequence

import terminal
from action_names import action_keys, action_names
from blob_env import MOVES, PLAYER, BlobEnv
from config import Config
from drawing import picture_of
from environments import make_env
from episode import Episode
from film import Film, Recorded
from optimum import best_q_values
from play import Player, check_opponent, parse_arguments, same_game
from startup import InputError
from terminal import LEVELS, half_blocks

ROOT = Path(__file__).parent.parent


class Stairs(gym.Env):
    """Action 1 (4, as the space counts) climbs for a reward of 10, action 0 stays for -1, not legal at the bottom;
    the third step is the top."""

    observation_space = gym.spaces.Box(0, 9, (1,), np.float32)
    action_space = gym.spaces.Discrete(2, start=3)
    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        self.seeds.append(seed)
        self.at = 0
        return self._see()

    def _see(self) -> tuple[np.ndarray, dict]:
        return np.array([self.at], np.float32), {"action_mask": np.array([self.at > 0, True], np.int8)}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        action -= 3
        self.at += int(action)
        observation, info = self._see()
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
    assert (episode.greedy, str(episode)) == (1, "return 0, 0 steps")  # staying is valued more, but is not legal there
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
    """A screen whose keys are given. It notes what it shows, the time it is asked to wait, and what comes when."""

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


def played(keys: Sequence[str], count: int = 1, actions: dict[str, int] | None = None) -> tuple[Script, Stairs]:
    env = Stairs()
    screen = Script(keys)
    episodes = [Episode(env, climb, "climber")]
    if actions:
        episodes.insert(0, Episode(Stairs(), None, "you"))
    Player(episodes, screen, 2.0, actions).play(7, count)
    assert next(screen.keys, None) is None, "not all keys were asked for"
    return screen, env


FOREVER = 1e9


def test_without_keys_it_plays_on(capsys: pytest.CaptureFixture[str]) -> None:
    screen, env = played([""] * 8, count=2)
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
    screen, _ = played(keys)
    assert [lengths[0] for lengths in screen.shown] == shown
    assert screen.waits == pytest.approx(waits)


def test_restart_next_and_quit(capsys: pytest.CaptureFixture[str]) -> None:
    screen, env = played(["", "r", "", "n", "q"], count=5)
    assert env.seeds == [7, 7, 8] and screen.shown == [[0], [1], [0], [1], [0]]
    told = capsys.readouterr().out.splitlines()
    assert told[0] == told[1] == "episode 1: return 10, 1 steps, stopped"
    assert told[2:] == ["episode 2: return 0, 0 steps, stopped"]


def test_a_person_plays(capsys: pytest.CaptureFixture[str]) -> None:
    # 0 is not legal at the bottom; the model takes a step for each of the person's, and is through before.
    keys = ["0", "1", "", "0", "1", "1", ""]
    screen, _ = played(keys, actions={"0": 0, "1": 1})
    assert screen.shown == [[0, 0], [0, 0], [1, 1], [1, 1], [2, 2], [3, 3], [4, 3]]
    assert screen.waits == [FOREVER] * 6 + [2.0]
    told = capsys.readouterr().out
    assert told == "episode 1: you: return 29, 4 steps, terminated; climber: return 30, 3 steps, terminated\n"


def test_a_key_that_is_held_plays_no_further_than_to_the_end() -> None:
    screen, env = played(["1", "1", "1", "1", "1", "", "q"], 2, actions={"1": 1})
    assert env.seeds == [7, 8]
    assert screen.shown == [[0, 0], [1, 1], [2, 2], [3, 3], [3, 3], [3, 3], [0, 0]]


def test_it_does_not_get_too_fast_to_listen() -> None:
    screen, _ = played(["="] * 40 + ["q"])
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


def test_opponents_that_there_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = tmp_path / "own.model", tmp_path / "other.model"
    _, saved = save_untrained(own, Config(env_args={"size": 4, "enemy_moves": True}))
    save_untrained(other, Config(env_args={"size": 5}))
    for versus, words in (
        ("optimal", "--versus optimal needs a Blob-v0"),
        (str(other), "other.model plays Blob-v0 with {'size': 5} and its own steps at most, not Blob-v0 with"),
        ("nothing.model", "there is no model file nothing.model"),
    ):
        monkeypatch.setattr(sys, "argv", ["play.py", str(own), "--versus", versus])
        with pytest.raises(InputError, match=words):
            check_opponent(parse_arguments(), saved)


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
def test_the_optimal_player_wins_as_fast_as_can_be(move_reward: float) -> None:
    # Without a reward of moves all safe ones are worth the same, and it must not dawdle.
    env = make_env(Config(env_args={"size": 6, "move_reward": move_reward}))
    episode = Episode(env, best_q_values(env))
    for seed in range(30):
        episode.reset(seed)
        blob = env.unwrapped
        assert isinstance(blob, BlobEnv)
        player, food, enemy = blob.positions[0]
        apart = np.abs(player - food).max()
        while not episode.ending:
            episode.step()
        way_round = int((np.abs(player - enemy).max() <= apart) and apart > 1)
        assert episode.ending == "won" and apart <= episode.length <= apart + way_round


def test_a_picture_shows_where_they_stand() -> None:
    env = make_env(Config(env_args={"size": 5}), "rgb_array")
    best = Episode(env, best_q_values(env), "optimal")
    best.reset(3)
    plain = picture_of([best], show_q=False)
    np.testing.assert_array_equal(plain, env.render())
    shown = picture_of([best], show_q=True)
    blob = env.unwrapped
    assert isinstance(blob, BlobEnv)
    changed = (shown[:300, :300] != plain).any(axis=2).reshape(5, 60, 5, 60).any(axis=(1, 3))
    # The arrow is on the player's cell, and nothing else is changed.
    assert np.argwhere(changed).tolist() == [blob.positions[0, PLAYER].tolist()]
    assert shown.shape[1] > 300
    person = Episode(Stairs("rgb_array"), None, "you")
    person.reset(0)
    sizes = set()
    while not best.ending:
        sizes.add(picture_of([best, person], show_q=True).shape)
        best.step()
    sizes.add(picture_of([best, person], show_q=True).shape)
    assert len(sizes) == 1  # as a film needs it


def test_half_blocks_by_hand() -> None:
    # Two pixels above two: red and black, blue and white, in the cube of 6x6x6 colours from 16 on.
    frame = np.array([[[255, 0, 0], [0, 0, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    assert half_blocks(frame, 2, 1) == ["\033[38;5;196;48;5;21m▀\033[38;5;16;48;5;231m▀\033[0m"]
    assert LEVELS.tolist() == [0, 95, 135, 175, 215, 255]
    for shape, room in (((300, 300), (40, 20)), ((400, 600), (58, 20)), ((210, 160), (39, 20))):
        lines = half_blocks(np.zeros((*shape, 3), np.uint8), *room)
        columns = lines[0].count("▀")
        assert columns <= room[0] and len(lines) <= room[1]
        assert columns / (2 * len(lines)) == pytest.approx(shape[1] / shape[0], rel=0.06)


@pytest.mark.parametrize("players", [1, 2])
@pytest.mark.parametrize("show_q", [False, True])
def test_the_terminal_fits(
    players: int, show_q: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 columns and 24 rows, the last of them the cursor's and one for the line that ends an episode."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    env = make_env(Config(), "rgb_array")
    episode = Episode(env, best_q_values(env), "a name that is far too long " * 5)
    episode.reset(1)
    terminal.Terminal(show_q).show([episode] * players)
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 23 and lines[-1] == ""
    plain = [re.sub(r"\033\[[0-9;]*m", "", line) for line in lines]
    assert max(map(len, plain)) <= 79
    assert ("down right" in "".join(plain)) == show_q and "return 0, 0 steps" in plain[1]


def test_text_where_there_is_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    episode = Episode(Stairs("ansi"), climb, "climber")
    episode.reset(1)
    terminal.Terminal(True).show([episode])
    assert capsys.readouterr().out == "at 0\n action 0     0.50\n>action 1     1.00\n\n"


def test_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from imageio_ffmpeg import count_frames_and_secs, read_frames

    for name in ("a.gif", "a.mp4"):
        film = Film(tmp_path / name, 4, show_q=False)
        Player([Episode(Stairs("rgb_array"), climb)], film, 4).play(1, 2)
        film.close()
        assert f"wrote {tmp_path / name}" in capsys.readouterr().out
    with Image.open(io.BytesIO((tmp_path / "a.gif").read_bytes())) as gif:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 60, 120, 180] * 2
    # The end stays for four frames; a GIF holds it as one.
    assert count_frames_and_secs(str(tmp_path / "a.mp4")) == (14, 3.5)
    reader = read_frames(str(tmp_path / "a.mp4"))
    assert next(reader)["size"] == (60, 40)
    seen = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    np.testing.assert_allclose(seen, [0, 60, 120, 180, 180, 180, 180] * 2, atol=4)  # it is compressed


def test_a_film_that_cannot_be_written(tmp_path: Path) -> None:
    film = Film(tmp_path / "gone" / "a.gif", 4, show_q=False)
    Player([Episode(Stairs("rgb_array"), climb)], film, 4).play(1, 1)
    with pytest.raises(InputError, match=r"--record .*a.gif cannot be written \(No such file"):
        film.close()


def test_what_is_shown_is_filmed(tmp_path: Path) -> None:
    screen = Script(["1", "1", "1", ""])
    both = Recorded(screen, Film(tmp_path / "a.gif", 4, show_q=False))
    Player([Episode(Stairs("rgb_array"), None, "you")], both, 4, {"1": 1}).play(1, 1)
    both.close()
    assert len(screen.shown) == 4
    with Image.open(tmp_path / "a.gif") as gif:
        assert len(list(ImageSequence.Iterator(gif))) == 4


class Screen:
    """An X server of its own, without a screen to look at."""

    def __init__(self) -> None:
        # A number of its own: two servers that look for a free one at the same moment may find the same.
        read, write = os.pipe()
        display = f":{1_000 + os.getpid() % 50_000}"
        command = ["Xvfb", display, "-displayfd", str(write), "-screen", "0", "900x700x24"]
        self._server = subprocess.Popen(command, pass_fds=[write])
        os.read(read, 16)  # it is ready
        self.env = {**os.environ, "DISPLAY": display}

    def ask(self, *arguments: str) -> str:
        """What xdotool says."""
        return subprocess.run(["xdotool", *arguments], env=self.env, capture_output=True, text=True).stdout.strip()

    def title(self) -> str:
        """Of the game's window, the one that has a name."""
        names = [self.ask("getwindowname", window) for window in self.ask("search", "--class", "").split()]
        return max(names, key=len, default="")

    def press(self, key: str, title: str) -> None:
        """Press a key, and wait for the window to be called so."""
        self.ask("key", key)
        self.wait_for(title)

    def wait_for(self, title: str, process: subprocess.Popen[str] | None = None) -> None:
        until = time.monotonic() + 60
        while not re.fullmatch(title, seen := self.title()):
            assert not process or process.poll() is None, process.communicate()
            assert time.monotonic() < until, f"the window is called {seen!r}, not {title!r}"
            time.sleep(0.05)

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()


@pytest.fixture
def screen() -> Iterator[Screen]:
    for needed in ("Xvfb", "xdotool"):
        if not shutil.which(needed):
            pytest.skip(f"{needed} is not installed (Debian's packages xvfb and xdotool)")
    screen = Screen()
    yield screen
    screen.close()


@contextlib.contextmanager
def playing(screen: Screen, path: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """`play.py` in a window, which is there once its first title is."""
    command = [sys.executable, "play.py", str(path), "--render", "human", *flags]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=screen.env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            screen.wait_for(".*return 0, 0 steps", process)
            yield process
        finally:
            process.kill()


def test_the_keyboard_in_a_real_window(screen: Screen, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    save_untrained(path, Config(seed=3, network="dense"))
    with playing(screen, path, "--fps", "1", "--seed", "4", "--show-q") as process:
        screen.press("space", "x: return .*")
        time.sleep(0.3)
        paused_at = screen.title()
        time.sleep(1.5)
        assert screen.title() == paused_at  # a step would have come after a second
        steps = int(paused_at.split()[-2])
        screen.press("period", f"x: return -{steps + 1}, {steps + 1} steps")
        screen.press("r", "x: return 0, 0 steps")
        screen.press("period", "x: return -1, 1 steps")
        for _ in range(6):
            screen.ask("key", "equal")
        screen.press("space", "x: return -[0-9]{2}, [0-9]{2} steps")  # it goes on, and faster
        screen.press("n", "x: return -?[0-9], [0-9] steps")
        screen.ask("key", "q")
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    lines = told.splitlines()
    assert lines[0].startswith("keys: space")
    assert lines[1] == f"episode 1: return -{steps + 1}, {steps + 1} steps, stopped"
    assert lines[2].startswith("episode 1: ") and lines[3].startswith("episode 2: ") and len(lines) == 4


def test_a_person_plays_in_a_real_window(screen: Screen, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    save_untrained(path, Config(seed=3, network="dense"))
    with playing(screen, path, "--seed", "4", "--human") as process:
        time.sleep(0.5)
        assert screen.title() == "you: return 0, 0 steps"  # it waits
        screen.press("Right", "you: return -1, 1 steps")
        screen.press("KP_7", "you: return -2, 2 steps")
        screen.press("5", "you: return -3, 3 steps")
        screen.ask("key", "q")
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert re.search(r"episode 1: you: return -3, 3 steps; x: return -[0-9]+, 3 steps, stopped", told)
