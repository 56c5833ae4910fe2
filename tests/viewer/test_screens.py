"""Screens: pictures, the terminal, films, and a real window with a keyboard."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import save_untrained
from PIL import Image, ImageSequence
from test_play import Script, Stairs, climb

import viewer.terminal as terminal
from blob.optimal_player import best_q_values
from blob_env import PLAYER, BlobEnv
from config import Config
from console.errors import InputError
from environments.make import make_env
from viewer.drawing import INK, picture_of, q_text
from viewer.episode import Episode
from viewer.film import Film
from viewer.playback import Playback
from viewer.screen import FilmedScreen
from viewer.terminal import LEVELS, half_blocks

ROOT = Path(__file__).parent.parent.parent


def test_a_picture_shows_the_episodes() -> None:
    env = make_env(Config(env_args={"size": 5}), "rgb_array")
    best = Episode(env, best_q_values(env), "optimal")
    best.reset(3)
    plain = picture_of([best], show_q=False)
    np.testing.assert_array_equal(plain, env.render())
    shown = picture_of([best], show_q=True)
    blob = env.unwrapped
    assert isinstance(blob, BlobEnv)
    changed = (shown[:300, :300] != plain).any(axis=2).reshape(5, 60, 5, 60).any(axis=(1, 3))
    # Only the player's cell has changed: the arrow is there.
    assert np.argwhere(changed).tolist() == [blob.positions[0, PLAYER].tolist()]
    assert shown.shape[1] > 300
    person = Episode(Stairs("rgb_array"), None, "you")
    person.reset(0)
    sizes = set()
    while not best.ending:
        sizes.add(picture_of([best, person], show_q=True).shape)
        best.step()
    sizes.add(picture_of([best, person], show_q=True).shape)
    assert len(sizes) == 1  # a film needs frames of one size


@pytest.mark.parametrize(("arrow", "is_drawn"), [(((10, 20), (30, 20)), True), (None, False)])
def test_any_environment_may_offer_an_arrow(arrow: Any, is_drawn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stairs, "action_arrow", lambda env, action: arrow, raising=False)
    episode = Episode(Stairs("rgb_array"), climb, "climber")
    episode.reset(1)
    frame = picture_of([episode], show_q=True)[:40, :60]
    assert frame.any() == is_drawn  # the frame itself is black
    assert (frame[20, 10:30] == INK).all() == is_drawn


def test_half_blocks_by_hand() -> None:
    # Red and black above blue and white, in the 6x6x6 colours that start at 16.
    frame = np.array([[[255, 0, 0], [0, 0, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    assert half_blocks(frame, 2, 1) == ["\033[38;5;196;48;5;21m▀\033[38;5;16;48;5;231m▀\033[0m"]
    assert LEVELS.tolist() == [0, 95, 135, 175, 215, 255]
    for shape, space in (((300, 300), (40, 20)), ((400, 600), (58, 20)), ((210, 160), (39, 20))):
        lines = half_blocks(np.zeros((*shape, 3), np.uint8), *space)
        columns = lines[0].count("▀")
        assert columns <= space[0] and len(lines) <= space[1]
        assert columns / (2 * len(lines)) == pytest.approx(shape[1] / shape[0], rel=0.06)


@pytest.mark.parametrize("players", [1, 2])
@pytest.mark.parametrize("show_q", [False, True])
def test_the_terminal_fits(
    players: int, show_q: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fits into 80 columns and 24 rows, of which the last two are for an episode's result and the cursor."""
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


def test_q_values_take_seven_characters() -> None:
    texts = {0.5: "0.50", -999.99: "-999.99", 1234.5: "1234", -54_321.0: "-54321", -1.2e8: "-1e+08"}
    for value, text in texts.items():
        assert q_text(value) == text and len(text) <= 7


def test_text_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    episode = Episode(Stairs("ansi"), climb, "climber")
    episode.reset(1)
    terminal.Terminal(True).show([episode])
    assert capsys.readouterr().out == "at 0\n action 0     0.50\n>action 1     1.00\n\n"


LANTERN = """
import gymnasium as gym
import numpy as np


class Lantern(gym.Env):
    observation_space = gym.spaces.Box(0, 9, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    metadata = {"render_modes": ["human"], "render_fps": 500}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def observe(self):
        if self.render_mode == "human":
            print(f"lantern {self.left}")
        return np.array([self.left], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 2
        return self.observe(), {}

    def step(self, action):
        self.left -= 1
        return self.observe(), 1.0, self.left == 0, False, {}
"""


def test_an_environment_that_shows_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It draws on every reset and step, in a window of its own, and nothing else can show it."""
    (tmp_path / "lantern.py").write_text(LANTERN)
    monkeypatch.chdir(tmp_path)
    trust = ["--env", "lantern:Lantern"]
    save_untrained(tmp_path / "x.model", Config.from_preset(env=trust[1]))
    command = [sys.executable, str(ROOT / "play.py"), "x.model", *trust, "--episodes", "1"]
    for flags in ([], ["--render", "human"]):
        env = {**os.environ, "SDL_VIDEODRIVER": "dummy"}
        shown = subprocess.run([*command, *flags], capture_output=True, text=True, env=env, check=False)
        assert shown.stdout == "lantern 2\nlantern 1\nlantern 0\nepisode 1: return 2, 2 steps, terminated\n"
    refused = subprocess.run([*command, "--record", "x.gif"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "cannot be shown as 'rgb_array', only as human" in refused.stderr


def test_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from imageio_ffmpeg import count_frames_and_secs, read_frames

    for name in ("a.gif", "a.mp4"):
        film = Film(tmp_path / name, 4, show_q=False)
        Playback([Episode(Stairs("rgb_array"), climb)], film, 4).play(1, 2)
        film.close()
        assert f"wrote {tmp_path / name}" in capsys.readouterr().out
    with Image.open(io.BytesIO((tmp_path / "a.gif").read_bytes())) as gif:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 60, 120, 180] * 2
    # The last frame stays for four; a GIF joins them into one.
    assert count_frames_and_secs(str(tmp_path / "a.mp4")) == (14, 3.5)
    reader = read_frames(str(tmp_path / "a.mp4"))
    assert next(reader)["size"] == (60, 40)
    means = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    np.testing.assert_allclose(means, [0, 60, 120, 180, 180, 180, 180] * 2, atol=4)  # it is compressed


def test_a_film_that_cannot_be_written(tmp_path: Path) -> None:
    film = Film(tmp_path / "gone" / "a.gif", 4, show_q=False)
    Playback([Episode(Stairs("rgb_array"), climb)], film, 4).play(1, 1)
    with pytest.raises(InputError, match=r"--record .*a.gif cannot be written \(No such file"):
        film.close()


def test_a_filmed_screen(tmp_path: Path) -> None:
    screen = Script(["1", "1", "1", ""])
    filmed = FilmedScreen(screen, Film(tmp_path / "a.gif", 4, show_q=False))
    Playback([Episode(Stairs("rgb_array"), None, "you")], filmed, 4, {"1": 1}).play(1, 1)
    filmed.close()
    assert len(screen.shown) == 4
    with Image.open(tmp_path / "a.gif") as gif:
        assert len(list(ImageSequence.Iterator(gif))) == 4


class XServer:
    """An X server without a screen to look at."""

    def __init__(self) -> None:
        # A number of our own: two servers that look for a free one at the same time may find the same.
        read, write = os.pipe()
        display = f":{1_000 + os.getpid() % 50_000}"
        # Without "-noreset" it resets when its last client leaves, as xdotool does, and drops a client that comes then.
        command = ["Xvfb", display, "-noreset", "-displayfd", str(write), "-screen", "0", "900x700x24"]
        self._server = subprocess.Popen(command, pass_fds=[write])
        os.read(read, 16)  # comes when it is ready
        self.env = {**os.environ, "DISPLAY": display}

    def ask(self, *arguments: str) -> str:
        """Run xdotool. Returns its output."""
        return subprocess.run(["xdotool", *arguments], env=self.env, capture_output=True, text=True).stdout.strip()

    def title(self) -> str:
        """Return the title of the game's window, the only one with a title."""
        names = [self.ask("getwindowname", window) for window in self.ask("search", "--class", "").split()]
        return max(names, key=len, default="")

    def press(self, key: str, title: str) -> None:
        """Press a key, and wait for a window title that matches."""
        self.ask("key", key)
        self.wait_for(title)

    def wait_for(self, title: str, process: subprocess.Popen[str] | None = None) -> None:
        until = time.monotonic() + 60
        while not re.fullmatch(title, seen := self.title()):
            assert not process or process.poll() is None, process.communicate()
            assert time.monotonic() < until, f"the window's title is {seen!r}, not {title!r}"
            time.sleep(0.05)

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()


@pytest.fixture
def screen() -> Iterator[XServer]:
    for needed in ("Xvfb", "xdotool"):
        if not shutil.which(needed):
            pytest.skip(f"{needed} is not installed (Debian's packages xvfb and xdotool)")
    screen = XServer()
    yield screen
    screen.close()


@contextlib.contextmanager
def playing(screen: XServer, path: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """Run `play.py` in a window, and wait until the first title is there."""
    command = [sys.executable, "play.py", str(path), "--render", "human", *flags]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=screen.env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            screen.wait_for(".*return 0, 0 steps", process)
            yield process
        finally:
            process.kill()


def test_the_keyboard_in_a_real_window(screen: XServer, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    save_untrained(path, Config(seed=3, network="dense"))
    with playing(screen, path, "--fps", "1", "--seed", "4", "--show-q") as process:
        screen.press("space", "x: return .*")
        time.sleep(0.3)
        paused_at = screen.title()
        time.sleep(1.5)
        assert screen.title() == paused_at  # it would have taken a step after a second
        steps = int(paused_at.split()[-2])
        screen.press("period", f"x: return -{steps + 1}, {steps + 1} steps?")
        screen.press("r", "x: return 0, 0 steps")
        screen.press("period", "x: return -1, 1 step")
        for _ in range(6):
            screen.ask("key", "equal")
        screen.press("space", "x: return -[0-9]{2}, [0-9]{2} steps")  # it goes on, faster
        screen.press("n", "x: return -?[0-9], [0-9] steps")
        screen.ask("key", "q")
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    lines = output.splitlines()
    assert lines[0].startswith("keys: space")
    assert re.fullmatch(f"episode 1: return -{steps + 1}, {steps + 1} steps?, stopped", lines[1])
    assert lines[2].startswith("episode 1: ") and lines[3].startswith("episode 2: ") and len(lines) == 4


def test_a_person_plays_in_a_real_window(screen: XServer, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    save_untrained(path, Config(seed=3, network="dense"))
    with playing(screen, path, "--seed", "4", "--human") as process:
        time.sleep(0.5)
        assert screen.title() == "you: return 0, 0 steps"  # it waits
        screen.press("Right", "you: return -1, 1 step")
        screen.press("KP_7", "you: return -2, 2 steps")
        screen.press("5", "you: return -3, 3 steps")
        screen.ask("key", "q")
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert re.search(r"episode 1: you: return -3, 3 steps; x: return -[0-9]+, 3 steps, stopped", output)
