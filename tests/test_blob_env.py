"""The Blob environments: the rules against values worked out by hand, and the vector version against single boards."""

import itertools
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode

from blob_env import BlobEnv, BlobRules, BlobVectorEnv

BLACK, PLAYER, FOOD, ENEMY = (0, 0, 0), (255, 175, 0), (0, 255, 0), (0, 0, 255)
STAY = 8

# Where each of the nine actions, in the documented order (1,1) (-1,-1) (-1,1) (1,-1) (1,0) (-1,0) (0,1) (0,-1) (0,0),
# takes the player from a cell of the 10 x 10 board.
MOVED = {
    (5, 5): [(6, 6), (4, 4), (4, 6), (6, 4), (6, 5), (4, 5), (5, 6), (5, 4), (5, 5)],
    (0, 0): [(1, 1), (0, 0), (0, 1), (1, 0), (1, 0), (0, 0), (0, 1), (0, 0), (0, 0)],
    (0, 9): [(1, 9), (0, 8), (0, 9), (1, 8), (1, 9), (0, 9), (0, 9), (0, 8), (0, 9)],
    (9, 0): [(9, 1), (8, 0), (8, 1), (9, 0), (9, 0), (8, 0), (9, 1), (9, 0), (9, 0)],
    (9, 9): [(9, 9), (8, 8), (8, 9), (9, 8), (9, 9), (8, 9), (9, 9), (9, 8), (9, 9)],
    (0, 5): [(1, 6), (0, 4), (0, 6), (1, 4), (1, 5), (0, 5), (0, 6), (0, 4), (0, 5)],
    (9, 5): [(9, 6), (8, 4), (8, 6), (9, 4), (9, 5), (8, 5), (9, 6), (9, 4), (9, 5)],
    (5, 0): [(6, 1), (4, 0), (4, 1), (6, 0), (6, 0), (4, 0), (5, 1), (5, 0), (5, 0)],
    (5, 9): [(6, 9), (4, 8), (4, 9), (6, 8), (6, 9), (4, 9), (5, 9), (5, 8), (5, 9)],
}

# 12 steps are few enough for many truncations, and enough for wins and losses on the smaller boards.
LIMIT = 12
VARIANTS: list[dict[str, Any]] = [
    {},
    {"size": 5, "observation": "offsets", "enemy_moves": True},
    {"size": 3, "observation": "cells", "enemy_moves": True, "food_moves": True},
    {"size": 4, "food_moves": True, "food_reward": 3.5},
]


def board(*cells: tuple[int, int]) -> np.ndarray:
    return np.array([cells])  # positions of one board: player, food and enemy


def make_board(*cells: tuple[int, int], **options: Any) -> Any:
    """Make a `Blob-v0` with player, food and enemy on these cells."""
    env: Any = gym.make("Blob-v0", **options)
    env.reset(seed=0)
    env.unwrapped._positions = board(*cells)
    return env


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("render_mode", [None, "human", "rgb_array", "ansi"])
@pytest.mark.parametrize(("enemy_moves", "food_moves"), list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("observation", ["image", "offsets", "cells"])
def test_gymnasium_finds_no_fault(
    observation: str, enemy_moves: bool, food_moves: bool, render_mode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(BlobEnv.metadata, "render_fps", 1000)  # at 8 frames a second this would take half a minute
    options: dict[str, Any] = {"observation": observation, "enemy_moves": enemy_moves, "food_moves": food_moves}
    env = gym.make("Blob-v0", render_mode=render_mode, **options)
    check_env(env.unwrapped)
    env.close()


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_each_board_plays_like_a_single_environment_with_its_seed(options: dict[str, Any]) -> None:
    lanes = 5
    vector = gym.make_vec("Blob-v0", num_envs=lanes, max_episode_steps=LIMIT, **options)
    singles = [gym.make("Blob-v0", max_episode_steps=LIMIT, disable_env_checker=True, **options) for _ in range(lanes)]
    firsts = [single.reset(seed=11 + lane)[0] for lane, single in enumerate(singles)]
    assert data_equivalence(vector.reset(seed=11), (np.stack(firsts), {}), exact=True)
    generator = np.random.default_rng(0)
    ends: Counter[tuple[bool, ...]] = Counter()
    while sum(ends.values()) < 1000:
        actions = generator.integers(9, size=lanes)
        observations, rewards, terminated, truncated, infos = vector.step(actions)
        for lane, single in enumerate(singles):
            observation, reward, *flags, info = single.step(actions[lane])
            assert (rewards[lane], terminated[lane], truncated[lane]) == (reward, *flags)
            lane_infos = infos["final_info"] if any(flags) else infos
            assert lane_infos["_is_success"][lane] and lane_infos["is_success"][lane] == info["is_success"]
            assert bool(infos.get("_final_obs", np.zeros(lanes))[lane]) == any(flags)
            if any(flags):
                ends[tuple(flags)] += 1
                np.testing.assert_array_equal(infos["final_obs"][lane], observation, strict=True)
                observation, _ = single.reset()
            np.testing.assert_array_equal(observations[lane], observation, strict=True)
    # Every kind of end occurred: terminated, truncated, and both at once.
    assert ends[True, False] > 50 and ends[False, True] > 50 and ends[True, True] > 0


@pytest.mark.parametrize(("lanes", "options"), [(1, {}), *[(5, options) for options in VARIANTS]], ids=str)
def test_vector_environment_returns_what_gymnasium_sync_vector_env_returns(lanes: int, options: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"num_envs": lanes, "max_episode_steps": LIMIT, **options}
    ours = gym.make_vec("Blob-v0", **arguments)
    arguments |= {"vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": AutoresetMode.SAME_STEP}}
    theirs = gym.make_vec("Blob-v0", disable_env_checker=True, **arguments)
    assert isinstance(ours, BlobVectorEnv) and ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    assert data_equivalence(ours.reset(seed=7), theirs.reset(seed=7), exact=True)
    generator, episodes = np.random.default_rng(1), 0
    while episodes < 200 * lanes:
        actions = generator.integers(9, size=lanes)
        our_step, their_step = ours.step(actions), theirs.step(actions)
        for our_part, their_part in zip(our_step, their_step, strict=True):
            assert data_equivalence(our_part, their_part, exact=True), f"{our_part}\n{their_part}"
        episodes += int(np.sum(our_step[2] | our_step[3]))


def test_starts_depend_on_the_seed_only() -> None:
    single, vector = gym.make("Blob-v0"), BlobVectorEnv(3)
    for env in (single, vector):
        first, second = env.reset(seed=3)[0], env.reset()[0]
        assert (first != second).any()  # without a seed the generator continues
        np.testing.assert_array_equal(env.reset(seed=3)[0], first)
        np.testing.assert_array_equal(env.reset()[0], second)
        assert (env.reset(seed=300)[0] != first).any()
    # A list holds one seed per board.
    np.testing.assert_array_equal(vector.reset(seed=[8, 2, 8])[0], [single.reset(seed=i)[0] for i in (8, 2, 8)])
    with pytest.raises(ValueError, match="needs one per board, got 2 for 3 boards"):
        vector.reset(seed=[1, 2])


def test_same_seed_and_actions_give_the_same_game_and_another_seed_does_not() -> None:
    env = BlobVectorEnv(4, observation="cells", enemy_moves=True)

    def play(seed: int) -> list[np.ndarray]:
        generator = np.random.default_rng(0)
        return [env.reset(seed=seed)[0]] + [env.step(generator.integers(9, size=4))[0] for _ in range(100)]

    np.testing.assert_array_equal(play(5), play(5))
    assert np.not_equal(play(5), play(50)).any()


def test_returned_arrays_are_never_changed() -> None:
    env = BlobVectorEnv(4, max_episode_steps=2)
    env.reset(seed=0)
    observations, *_, infos = [env.step(np.full(4, STAY)) for _ in range(2)][1]  # all truncated
    kept = [observations, *infos["final_obs"]]
    copies = [array.copy() for array in kept]
    env.step(np.zeros(4, np.int64))
    assert all(map(np.array_equal, kept, copies))


@pytest.mark.parametrize("start", MOVED, ids=str)
def test_moves_are_in_the_documented_order_and_clipped_at_the_walls(start: tuple[int, int]) -> None:
    # 20 boards per action: a zero component that moves at random, as in the tutorial, would show on some of them.
    positions = np.repeat(board(start, (3, 3), (3, 7)), 180, axis=0)
    BlobRules().step(positions, np.repeat(np.arange(9), 20), [])
    assert positions[:, 0].reshape(9, 20, 2).tolist() == [[list(cell)] * 20 for cell in MOVED[start]]
    assert (positions[:, 1:] == [(3, 3), (3, 7)]).all()


@pytest.mark.parametrize("rewards", [{}, {"enemy_reward": -7, "food_reward": 2.5, "move_reward": 0.25}], ids=str)
def test_rewards_and_ends(rewards: dict[str, float]) -> None:
    expected = {"move_reward": -1, "food_reward": 25, "enemy_reward": -300, **rewards}
    far, near = (0, 0), (5, 6)  # a cell with both counts as the enemy's
    for food, enemy, outcome in [(far, far, "move"), (near, far, "food"), (far, near, "enemy"), (near, near, "enemy")]:
        step = make_board((5, 5), food, enemy, **rewards).step(6)
        assert step[1:] == (expected[f"{outcome}_reward"], outcome != "move", False, {"is_success": outcome == "food"})


def test_pieces_move_uniformly_and_independently() -> None:
    for enemy_moves, food_moves in itertools.product([False, True], repeat=2):
        # From the centre of a 3 x 3 board the nine moves lead to nine cells. The player stays in a corner.
        positions = np.repeat(board((0, 0), (1, 1), (1, 1)), 8100, axis=0)
        rules = BlobRules(size=3, enemy_moves=enemy_moves, food_moves=food_moves)
        rewards, won, lost = rules.step(positions, np.full(8100, STAY), [np.random.default_rng(0)] * 8100)
        food, enemy = (positions[:, 1:] @ [3, 1]).T
        np.testing.assert_array_equal(lost, enemy == 0)
        np.testing.assert_array_equal(won, (food == 0) & (enemy != 0))
        np.testing.assert_array_equal(rewards, np.select([lost, won], [-300.0, 25.0], -1.0))
        outcomes, counts = np.unique(9 * food + enemy, return_counts=True)
        assert len(outcomes) == 9 ** (enemy_moves + food_moves)
        assert (food_moves or (food == 4).all()) and (enemy_moves or (enemy == 4).all())
        # Chi-square of 1, 9 or 81 equally likely outcomes: below the 99.99th percentile for 0, 8 and 80 degrees.
        expected = 8100 / len(counts)
        assert ((counts - expected) ** 2 / expected).sum() <= {1: 0, 9: 32, 81: 136}[len(counts)]


def test_time_limit_truncates_at_step_200_and_not_before() -> None:
    single, vector = make_board((5, 5), (0, 0), (9, 9)), gym.make_vec("Blob-v0", num_envs=2)
    vector.reset(seed=0)
    for step in range(1, 401):  # the vector environment plays a second episode
        _, _, terminated, truncated, _ = vector.step(np.full(2, STAY))
        assert not terminated.any() and truncated.tolist() == [step in (200, 400)] * 2
        if step <= 200:
            assert single.step(STAY)[2:4] == (False, step == 200)
    for step in range(1, 300):  # a reset in the middle of an episode restarts the count
        if step == 100:
            vector.reset()
        assert vector.step(np.full(2, STAY))[3].tolist() == [step == 299] * 2
    endless = BlobVectorEnv(1, max_episode_steps=None)
    endless.reset(seed=0)
    assert not any(endless.step(np.array([STAY]))[3].any() for _ in range(1000))


def test_reaching_the_food_with_the_last_step_sets_both_flags() -> None:
    single, vector = make_board((5, 5), (5, 6), (9, 9)), BlobVectorEnv(1)
    vector.reset(seed=0)
    vector._positions = board((5, 5), (5, 6), (9, 9))
    for _ in range(199):
        assert single.step(STAY)[2:4] == (False, False)
        vector.step(np.array([STAY]))
    assert single.step(6)[1:] == (25, True, True, {"is_success": True})
    _, rewards, terminated, truncated, infos = vector.step(np.array([6]))
    assert (rewards[0], terminated[0], truncated[0], infos["final_info"]["is_success"][0]) == (25, True, True, True)


def test_every_start_has_one_number_and_the_same_probability() -> None:
    assert BlobRules().n_starts == 970_200  # 100*99*98
    for size, n_starts in ((2, 24), (3, 504)):  # 4*3*2 and 9*8*7
        rules = BlobRules(size=size)
        assert rules.n_starts == n_starts
        starts = [tuple(map(tuple, start)) for start in rules.start_positions(np.arange(n_starts)).tolist()]
        assert sorted(starts) == sorted(itertools.permutations(itertools.product(range(size), repeat=2), 3))
    observations, _ = BlobVectorEnv(4800, size=2, observation="cells").reset(seed=0)
    _, counts = np.unique(observations, axis=0, return_counts=True)
    # Chi-square of 24 starts, expected 200 times each: 57 is its 99.99th percentile for 23 degrees of freedom.
    assert len(counts) == 24 and ((counts - 200) ** 2 / 200).sum() < 57


def test_observations_of_one_board() -> None:
    cells = ((1, 2), (3, 0), (0, 3))
    image = np.zeros((4, 4, 3), np.uint8)
    image[1, 2], image[3, 0], image[0, 3] = PLAYER, FOOD, ENEMY  # x is the row, y the column
    np.testing.assert_array_equal(make_board(*cells, size=4).step(STAY)[0], image, strict=True)
    # player - food = (1-3, 2-0), player - enemy = (1-0, 2-3)
    assert make_board(*cells, size=4, observation="offsets").step(STAY)[0].tolist() == [-2, 2, 1, -1]
    assert make_board(*cells, size=4, observation="cells").step(STAY)[0].tolist() == [1 * 4 + 2, 3 * 4, 3]


def test_drawing_order() -> None:
    for cells, image in (
        (((0, 0), (0, 0), (1, 1)), [[PLAYER, BLACK], [BLACK, ENEMY]]),  # player over food
        (((0, 1), (1, 0), (0, 1)), [[BLACK, ENEMY], [FOOD, BLACK]]),  # enemy over player
        (((0, 1), (1, 0), (1, 0)), [[BLACK, PLAYER], [ENEMY, BLACK]]),  # enemy over food
        (((1, 1), (1, 1), (1, 1)), [[BLACK, BLACK], [BLACK, ENEMY]]),
    ):
        np.testing.assert_array_equal(BlobRules(size=2).observe(board(*cells))[0], np.array(image))


def test_random_play_takes_88_7_steps_and_returns_minus_200() -> None:
    lanes = 20_000  # the first episode of each board: counting the first to end would favour short ones
    env, generator = BlobVectorEnv(lanes, observation="cells"), np.random.default_rng(0)
    env.reset(seed=0)
    steps, returns, playing = np.zeros(lanes), np.zeros(lanes), np.ones(lanes, bool)
    for _ in range(200):
        _, rewards, terminated, truncated, _ = env.step(generator.integers(9, size=lanes))
        steps += playing
        returns += rewards * playing
        playing &= ~(terminated | truncated)
    for sample, expected, tight in ((steps, 88.7, 0.6), (returns, -200, 1.3)):
        standard_error = sample.std(ddof=1) / math.sqrt(lanes)
        assert standard_error < tight and abs(sample.mean() - expected) < 4 * standard_error


def test_bad_option_is_named() -> None:
    bad: dict[str, list[Any]] = {"size": [1, 1001, 2.5, True, "10"], "observation": ["x"], "enemy_moves": [1]}
    bad |= {"food_moves": ["yes"], "enemy_reward": [math.nan, True], "food_reward": [math.inf], "move_reward": ["0"]}
    bad |= {"render_mode": ["ascii"]}
    for name, value in [(key, value) for key in bad for value in bad[key]]:
        for make in (BlobEnv,) if name == "render_mode" else (BlobEnv, BlobVectorEnv):  # no render_mode there
            with pytest.raises(ValueError, match=f"^{name} must be .*got {value!r}$"):
                make(**{name: value})


def test_text_rendering() -> None:
    assert make_board((0, 1), (2, 0), (2, 2), size=3, render_mode="ansi").render() == ". P .\n. . .\nF . E\n"


@pytest.mark.parametrize(("size", "pixels"), [(10, 30), (7, 42)])  # 300 // size
def test_frame_is_the_enlarged_image(size: int, pixels: int) -> None:
    env = make_board((0, 1), (2, 0), (6, 5), size=size, render_mode="rgb_array", observation="cells")
    frame = env.render()
    assert frame.shape == (size * pixels, size * pixels, 3) and frame.dtype == np.uint8
    grey = (48, 48, 48)
    assert {tuple(colour) for colour in frame.reshape(-1, 3).tolist()} == {BLACK, PLAYER, FOOD, ENEMY, grey}
    squares = frame.reshape(size, pixels, size, pixels, 3)
    assert (squares[:, 0] == grey).all() and (squares[:, :, :, 0] == grey).all()  # the lines between cells
    squares = squares[:, 1:, :, 1:]
    image = squares[:, 0, :, 0]
    assert image[[0, 2, 6], [1, 0, 5]].tolist() == [list(PLAYER), list(FOOD), list(ENEMY)]
    np.testing.assert_array_equal(squares, np.broadcast_to(image[:, None, :, None], squares.shape))


def test_small_cells_have_no_lines() -> None:
    frame = make_board((0, 1), (2, 0), (6, 5), size=50, render_mode="rgb_array").render()  # 6 pixels a cell
    assert frame.shape == (300, 300, 3) and not (frame == 48).any()


def test_window_shows_the_frame_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = make_board((0, 1), (2, 0), (2, 2), render_mode="human")
    assert env.render() is None
    surface = pygame.display.get_surface()
    assert surface
    window = pygame.surfarray.array3d(surface)
    frame = make_board((0, 1), (2, 0), (2, 2), render_mode="rgb_array").render()
    np.testing.assert_array_equal(window.transpose(1, 0, 2), frame)  # the first axis of a surface runs to the right
    env.close()
    assert not pygame.display.get_init()


def test_no_render_mode_renders_nothing() -> None:
    assert make_board((0, 1), (2, 0), (2, 2)).unwrapped.render() is None


def test_docstring_lists_every_argument_with_its_default() -> None:
    documented = dict(re.findall(r"`(\w+)=([^`]*)`", (BlobEnv.__doc__ or "").partition("## Arguments")[2]))
    defaults = {field.name: repr(field.default).replace("'", '"') for field in fields(BlobRules)}
    assert documented == {**defaults, "render_mode": "None"}


def test_same_game_with_any_observation() -> None:
    games = [BlobEnv(size=5, observation=observation).game for observation in ("image", "offsets", "cells")]
    assert games[0] == games[1] == games[2]
    others: list[dict[str, Any]] = [{"size": 6}, {"size": 5, "food_moves": True}, {"size": 5, "move_reward": -2}]
    for options in others:
        assert BlobEnv(**options).game != games[0]


def test_file_works_outside_the_project(tmp_path: Path) -> None:
    """Copied on its own into an empty folder, the file registers Blob-v0 and imports nothing else of the project."""
    shutil.copy(Path(__file__).parents[1] / "blob_env.py", tmp_path)
    script = """
import gymnasium, blob_env
env = gymnasium.make("Blob-v0", size=4, render_mode="ansi")
env.reset(seed=0)
env.step(0)
print(blob_env.__file__, env.render().count("P"))
gymnasium.make_vec("Blob-v0", num_envs=3).reset(seed=0)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-W", "error", "-c", script]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, f"{tmp_path / 'blob_env.py'} 1\n"), found.stderr
