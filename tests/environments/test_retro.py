"""Console games, with the free one that stable-retro brings along. Skipped where it is not installed."""

import multiprocessing
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

pytest.importorskip("stable_retro")

from config import Config
from console.errors import InputError
from environments.known import action_names
from environments.lanes import make_lanes
from environments.make import is_emulated, make_env
from environments.resume import ResumableEnv
from environments.retro import RetroGame
from presets import preset_of
from storage.trust import untrusted_settings

GAME = "Airstriker-Genesis-v0"
MakeGame = Callable[..., RetroGame]


@pytest.fixture
def make_game(request: pytest.FixtureRequest) -> MakeGame:
    def make(*options: object, **named: object) -> RetroGame:
        game = RetroGame(GAME, *options, **named)  # type: ignore[arg-type]
        request.addfinalizer(game.close)
        return game

    return make


def test_it_is_an_environment(make_game: MakeGame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(fork|not in registry|the spec of the environment)")
        check_env(make_game(render_mode="rgb_array"), skip_render_check=True)


def test_actions_press_buttons(make_game: MakeGame) -> None:
    chosen = make_game(["", "LEFT", "RIGHT B"])
    assert len(chosen.get_action_meanings()) == 3
    assert action_names(chosen) == ["stay", "left", "b right"]  # in the order of the console
    # On a Genesis: three positions of up and down, three of left and right, and A, B, C or their pairs, or none.
    assert len(make_game().get_action_meanings()) == 126
    with pytest.raises(InputError, match="JUMP is no button; these are B, A, MODE, START, UP"):
        make_game(["JUMP"])


def test_actions_repeat_by_chance(make_game: MakeGame) -> None:
    """Left and right alternate: the game itself knows no chance, so only repeats tell two seeds apart."""

    def screens(game: RetroGame, seed: int) -> np.ndarray:
        first, _ = game.reset(seed=seed)
        return np.array([first, *(game.step(1 + i % 2)[0] for i in range(60))])

    game, never = make_game(["", "LEFT", "RIGHT"]), make_game(["", "LEFT", "RIGHT"], repeat_action_probability=0.0)
    assert np.array_equal(screens(game, 1), screens(game, 1)) and not np.array_equal(screens(game, 1), screens(game, 2))
    assert np.array_equal(screens(never, 1), screens(never, 2))
    assert len(np.unique(screens(never, 1), axis=0)) > 30


def test_through_env(make_game: MakeGame) -> None:
    config = Config.from_preset(env=f"retro/{GAME}", env_args={"actions": ["", "B"]}, screen_size=42)
    assert config.preset == preset_of(config.env) == "retro" and is_emulated(config)
    assert untrusted_settings(config) == {}
    before = len(multiprocessing.active_children())
    with make_lanes(config, 2) as lanes:
        observations, _ = lanes.reset(0)
        assert observations.shape == (2, 4, 42, 42) and observations.dtype == np.uint8 and lanes.n_actions == 2
        assert len(multiprocessing.active_children()) == before + 2
    assert len(multiprocessing.active_children()) == before
    with pytest.raises(InputError, match=r"no ROM of SonicTheHedgehog-Genesis-v0: .*stable_retro.import FOLDER"):
        make_env(Config.from_preset(env="retro/SonicTheHedgehog-Genesis-v0"))
    with pytest.raises(InputError, match="has no option speed; it has game, actions, state"):
        make_env(Config.from_preset(env=config.env, env_args={"speed": 2}))


def test_an_episode_goes_on_where_it_stood() -> None:
    config = Config.from_preset(env=f"retro/{GAME}")
    one, other = ResumableEnv(make_env(config)), ResumableEnv(make_env(config))
    one.reset(seed=3)
    other.reset(seed=4)
    actions = np.random.default_rng(0).integers(126, size=60).tolist()
    seen = [one.step(action)[0] for action in actions[:40]]
    assert np.array_equal(other.set_state(one.get_state()), seen[-1])
    for action in actions[40:]:
        assert np.array_equal(one.step(action)[0], other.step(action)[0])
    one.close()
    other.close()
