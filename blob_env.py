"""The Blob environments: a player on a small grid looks for food and avoids an enemy. One board, or many at once.

The file needs NumPy and Gymnasium only (and pygame for a window), so it can be copied on its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

MOVES = np.array([(1, 1), (-1, -1), (-1, 1), (1, -1), (1, 0), (-1, 0), (0, 1), (0, -1), (0, 0)])
MOVE_NAMES = ("down right", "up left", "up right", "down left", "down", "up", "right", "left", "stay")
PLAYER, FOOD, ENEMY = range(3)
GRID, SMALLEST_CELL = 48, 8  # grey of the lines between cells; pixels below which a cell has none
COLOURS = np.array([(255, 175, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
LETTERS = "PFE"
OBSERVATIONS = ("image", "offsets", "cells")
WINDOW_PIXELS = 300
Turn = tuple[bool, ...]  # transpose, flip x, flip y
SymmetryData = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]  # see `BlobRules.symmetries`


@dataclass(frozen=True)
class BlobRules:
    """The rules of Blob, for n boards at once.

    A board is three (x, y) cells: `positions`, int64 (n, 3, 2), lists player, food and enemy in this order. x is the
    row of the image, y the column.

    Attributes:
        size: cells along each side of the square board, 2 to 1000.
        observation: "image", "offsets" or "cells"; see `BlobEnv`.
        enemy_moves: the enemy makes a uniformly random move after each move of the player.
        food_moves: the food does the same.
        enemy_reward: reward for reaching the enemy's cell, which ends the episode.
        food_reward: reward for reaching the food's cell, which ends the episode.
        move_reward: reward for any other step.

    Raises:
        ValueError: an option is out of range.
    """

    size: int = 10
    observation: str = "image"
    enemy_moves: bool = False
    food_moves: bool = False
    enemy_reward: float = -300.0
    food_reward: float = 25.0
    move_reward: float = -1.0

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 2 <= self.size <= 1000:
            raise ValueError(f"size must be a whole number from 2 to 1000, got {self.size!r}")
        if self.observation not in OBSERVATIONS:
            raise ValueError(f"observation must be one of {', '.join(OBSERVATIONS)}, got {self.observation!r}")
        for name in ("enemy_moves", "food_moves"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        for name in ("enemy_reward", "food_reward", "move_reward"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")

    @property
    def n_starts(self) -> int:
        """The number of starts: boards with player, food and enemy on three different cells."""
        n_cells = self.size**2
        return n_cells * (n_cells - 1) * (n_cells - 2)

    def observation_space(self) -> gym.Space:
        """Make the space of one board's observation."""
        if self.observation == "image":
            return Box(0, 255, (self.size, self.size, 3), np.uint8)
        if self.observation == "offsets":
            return MultiDiscrete([2 * self.size - 1] * 4, start=[1 - self.size] * 4)
        return MultiDiscrete([self.size**2] * 3)

    def start_positions(self, starts: np.ndarray) -> np.ndarray:
        """Set up the starts with these numbers.

        Args:
            starts: int (n,), each in [0, n_starts). A uniform draw gives every start the same probability.

        Returns:
            positions, int64 (n, 3, 2).
        """
        n_cells = self.size**2
        player, rest = np.divmod(starts, (n_cells - 1) * (n_cells - 2))
        food, enemy = np.divmod(rest, n_cells - 2)
        # `food` counts cells without the player's, `enemy` cells without the player's and the food's: skip those.
        food = food + (food >= player)
        enemy = enemy + (enemy >= np.minimum(player, food))
        enemy = enemy + (enemy >= np.maximum(player, food))
        cells = np.stack([player, food, enemy], axis=1)
        return np.stack(np.divmod(cells, self.size), axis=2)

    def step(
        self, positions: np.ndarray, actions: np.ndarray, generators: Sequence[np.random.Generator]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step every board: the player moves, then the enemy and the food if they move at all.

        Args:
            positions: int64 (n, 3, 2), changed in place.
            actions: int (n,), indices into `MOVES`.
            generators: one per board, used only if the enemy or the food moves.

        Returns:
            rewards float64 (n,), won bool (n,), lost bool (n,). A cell with both food and enemy counts as the enemy's.
        """
        self._move(positions, PLAYER, actions)
        for piece, moves in ((ENEMY, self.enemy_moves), (FOOD, self.food_moves)):
            if moves:
                self._move(positions, piece, np.array([rng.integers(len(MOVES)) for rng in generators]))
        lost = (positions[:, PLAYER] == positions[:, ENEMY]).all(axis=1)
        won = (positions[:, PLAYER] == positions[:, FOOD]).all(axis=1) & ~lost
        rewards = np.where(lost, self.enemy_reward, np.where(won, self.food_reward, self.move_reward))
        return rewards.astype(np.float64), won, lost

    def _move(self, positions: np.ndarray, piece: int, actions: np.ndarray) -> None:
        positions[:, piece] = np.clip(positions[:, piece] + MOVES[actions], 0, self.size - 1)

    def observe(self, positions: np.ndarray) -> np.ndarray:
        """Observe every board: uint8 (n, size, size, 3), int64 (n, 4) or int64 (n, 3), see `BlobEnv`."""
        if self.observation == "image":
            images = np.zeros((len(positions), self.size, self.size, 3), np.uint8)
            boards = np.arange(len(positions))
            for piece in (FOOD, PLAYER, ENEMY):  # on a shared cell the last one shows
                images[boards, positions[:, piece, 0], positions[:, piece, 1]] = COLOURS[piece]
            return images
        if self.observation == "offsets":
            return (positions[:, PLAYER, None] - positions[:, FOOD:]).reshape(-1, 4)
        return positions[:, :, 0] * self.size + positions[:, :, 1]

    def symmetries(self) -> list[SymmetryData]:
        """List the eight symmetries of the square as data: tuples (places, signs, actions, values).

        Number i of a transformed observation, flattened, is `signs[i]` times number `places[i]` of the original. If
        `values` is not None, a cell v becomes `values[v]`. Action a becomes `actions[a]`.
        """
        return [self._symmetry(turn) for turn in itertools.product((False, True), repeat=3)]

    def _symmetry(self, turn: Turn) -> SymmetryData:
        transpose, flip_x, flip_y = turn
        signs, values = np.ones(3, np.int8), None
        if self.observation == "image":
            image = np.arange(self.size**2 * 3).reshape(self.size, self.size, 3)
            image = image.transpose(1, 0, 2) if transpose else image
            places = image[:: -1 if flip_x else 1, :: -1 if flip_y else 1].ravel()
            signs = np.ones(len(places), np.int8)
        elif self.observation == "offsets":
            places = np.array([1, 0, 3, 2] if transpose else [0, 1, 2, 3])
            signs = np.array([-1 if flip_x else 1, -1 if flip_y else 1] * 2, np.int8)
        else:
            places, values = np.arange(3), self._turned_cells(turn)
        return places, signs, _turned_moves(turn), values

    def _turned_cells(self, turn: Turn) -> np.ndarray:
        """Transform every cell: int64 (cells,)."""
        # Relative to the centre of the board, in half cells to stay with whole numbers.
        doubled = 2 * np.stack(np.divmod(np.arange(self.size**2), self.size), axis=1) - (self.size - 1)
        return (_turned(doubled, turn) + self.size - 1) // 2 @ np.array([self.size, 1])


def _turned(vectors: np.ndarray, turn: Turn) -> np.ndarray:
    """Transform vectors (..., 2): transpose, then flip x, then flip y."""
    transpose, flip_x, flip_y = turn
    vectors = vectors[..., ::-1] if transpose else vectors
    return vectors * [-1 if flip_x else 1, -1 if flip_y else 1]


def _turned_moves(turn: Turn) -> np.ndarray:
    """Transform every action: int64 (9,)."""
    return (_turned(MOVES, turn)[:, None] == MOVES).all(axis=2).argmax(axis=1)


class BlobEnv(gym.Env):
    """One board of Blob, registered as `Blob-v0`.

    ## Description
    The player moves on a square grid. Reaching the food earns a reward, touching the enemy costs a large penalty, and
    both end the episode. Food and enemy stand still unless `food_moves` or `enemy_moves` is set.

    ## Action Space
    `Discrete(9)`, the moves (dx, dy) in the order (1,1) (-1,-1) (-1,1) (1,-1) (1,0) (-1,0) (0,1) (0,-1) (0,0). x is
    the row and y the column, so (1,0) moves down and (0,1) moves right. Walls clip a move, each axis separately. A
    zero component does not move (in the tutorial that made this game known it moves at random).

    ## Observation Space
    - `observation="image"`: `Box(0, 255, (size, size, 3), uint8)`, black with the player in (255,175,0), the food in
      (0,255,0) and the enemy in (0,0,255).
    - `observation="offsets"`: `MultiDiscrete([2*size-1]*4, start=[1-size]*4)`, player - food and player - enemy.
    - `observation="cells"`: `MultiDiscrete([size*size]*3)`, the cells x*size + y of player, food and enemy.

    ## Rewards
    -300 for reaching the enemy, +25 for reaching the food, -1 for any other step.

    ## Starting State
    Player, food and enemy are on three different cells. Every such start has the same probability.

    ## Episode End
    Terminated when the player reaches the enemy or the food; `info["is_success"]` is true for the food. Truncated after
    200 steps, the time limit of the registration.

    ## Arguments
    - `size=10`: cells along each side, 2 to 1000.
    - `observation="image"`: "image", "offsets" or "cells".
    - `enemy_moves=False`: the enemy makes a uniformly random move after each move of the player.
    - `food_moves=False`: the food does the same.
    - `enemy_reward=-300.0`, `food_reward=25.0`, `move_reward=-1.0`: the rewards.
    - `render_mode=None`: "human" (a pygame window), "rgb_array" (frames, uint8, about 300 x 300 pixels), "ansi" (text)
      or None.

    Raises ValueError for an argument out of range.

    ## Version History
    - v0: first version.
    """

    metadata = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": 8}

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode must be one of {self.metadata['render_modes']}, got {render_mode!r}")
        self.rules = BlobRules(**options)
        self.render_mode = render_mode
        self.observation_space = self.rules.observation_space()
        self.action_space = Discrete(len(MOVES))
        self._positions = np.zeros((1, 3, 2), np.int64)
        self._window: Any = None

    @property
    def positions(self) -> np.ndarray:
        """The cells of player, food and enemy: int64 (1, 3, 2)."""
        return self._positions.copy()

    @property
    def symmetries(self) -> list[SymmetryData]:
        """See `BlobRules.symmetries`; made when asked for, since they take memory on large boards."""
        return self.rules.symmetries()

    @property
    def game(self) -> BlobRules:
        """The rules apart from the observation: equal for two environments that play the same game."""
        return replace(self.rules, observation="image")

    def get_action_meanings(self) -> list[str]:
        """Name the actions, as directions on the rendered board."""
        return list(MOVE_NAMES)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a new episode. Returns the observation and an empty info."""
        super().reset(seed=seed)
        self._positions = self.rules.start_positions(self.np_random.integers(self.rules.n_starts, size=1))
        if self.render_mode == "human":
            self.render()
        return self.rules.observe(self._positions)[0], {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Make a move. Returns observation, reward, terminated, truncated (always False) and info."""
        rewards, won, lost = self.rules.step(self._positions, np.array([action]), [self.np_random])
        if self.render_mode == "human":
            self.render()
        observation = self.rules.observe(self._positions)[0]
        return observation, float(rewards[0]), bool(won[0] or lost[0]), False, {"is_success": bool(won[0])}

    def render(self) -> np.ndarray | str | None:
        """Render the board. Returns uint8 (pixels, pixels, 3) for "rgb_array", text for "ansi", otherwise None."""
        if self.render_mode == "ansi":
            cells = np.full((self.rules.size, self.rules.size), ".")
            for piece in (FOOD, PLAYER, ENEMY):
                cells[tuple(self._positions[0, piece])] = LETTERS[piece]
            return "\n".join(" ".join(row) for row in cells) + "\n"
        if self.render_mode == "rgb_array":
            return self._frame()
        if self.render_mode == "human":
            self._show(self._frame())
        return None

    def _frame(self) -> np.ndarray:
        """Enlarge the image of the board: every cell becomes a square of pixels, with a line between cells."""
        image = BlobRules(size=self.rules.size).observe(self._positions)[0]
        pixels = max(1, WINDOW_PIXELS // self.rules.size)
        frame = image.repeat(pixels, axis=0).repeat(pixels, axis=1)
        if pixels >= SMALLEST_CELL:
            frame[::pixels] = frame[:, ::pixels] = GRID
        return frame

    def _show(self, frame: np.ndarray) -> None:
        import pygame  # needed for a window only

        if self._window is None:
            pygame.display.init()
            pygame.display.set_caption("Blob")
            self._window = pygame.display.set_mode(frame.shape[:2])
            self._clock = pygame.time.Clock()
        # The first axis of a pygame surface runs to the right, that of an image down.
        pygame.surfarray.blit_array(self._window, frame.transpose(1, 0, 2))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self.metadata["render_fps"])

    def action_arrow(self, action: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the arrow that shows an action: its tail and its tip, (x, y) in pixels of an "rgb_array" frame.

        They are the same point if the player stays where it is. `play.py --show-q` draws the greedy action's arrow.
        """
        pixels = max(1, WINDOW_PIXELS // self.rules.size)
        down, right = MOVES[action] / max(1, np.hypot(*MOVES[action])) * (0.36 * pixels)
        y, x = (self._positions[0, PLAYER] + 0.5) * pixels
        return (x - right, y - down), (x + right, y + down)

    def close(self) -> None:
        """Close the window if there is one."""
        if self._window is not None:
            import pygame

            pygame.display.quit()
            self._window = None


class BlobVectorEnv(VectorEnv):
    """Many boards of Blob, stepped together in NumPy.

    With seed s, board i plays exactly like a `Blob-v0` with seed s + i.

    Autoreset is SAME_STEP, as in Gymnasium's `SyncVectorEnv`: at the end of an episode `step` returns the first
    observation of the next one, and the last observation is in `infos["final_obs"]`.

    Args:
        num_envs: number of boards, at least 1.
        max_episode_steps: truncate episodes after this many steps; None never does. (`gymnasium.make_vec` passes the
            limit of the registration but leaves it to the environment to apply it.)
        options: the fields of `BlobRules`.

    Raises:
        ValueError: an argument is out of range.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = 200, **options: Any) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self.rules = BlobRules(**options)
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.single_observation_space = self.rules.observation_space()
        self.single_action_space = Discrete(len(MOVES))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators: list[np.random.Generator] = []

    @property
    def symmetries(self) -> list[SymmetryData]:
        """See `BlobRules.symmetries`."""
        return self.rules.symmetries()

    @property
    def positions(self) -> np.ndarray:
        """The cells of player, food and enemy on every board: int64 (num_envs, 3, 2)."""
        return self._positions.copy()

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a new episode on every board. Board i gets the seed `seed + i`, or `seed[i]` of a list."""
        if seed is not None or not self._generators:
            if isinstance(seed, int | np.integer):
                seed = [int(seed) + i for i in range(self.num_envs)]
            seeds = seed or [None] * self.num_envs
            if len(seeds) != self.num_envs:
                raise ValueError(f"a list of seeds needs one per board, got {len(seeds)} for {self.num_envs} boards")
            self._generators = [seeding.np_random(board_seed)[0] for board_seed in seeds]
        self._positions = np.zeros((self.num_envs, 3, 2), np.int64)
        self._steps = np.zeros(self.num_envs, np.int64)
        self._restart(np.arange(self.num_envs))
        return self.rules.observe(self._positions), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every board. Returns observations, rewards float64, terminated, truncated (bool) and infos."""
        rewards, won, lost = self.rules.step(self._positions, actions, self._generators)
        self._steps += 1
        terminated = won | lost
        truncated = np.zeros(self.num_envs, bool)
        if self.max_episode_steps is not None:
            truncated = self._steps >= self.max_episode_steps
        ended = terminated | truncated
        observations = self.rules.observe(self._positions)
        infos: dict[str, Any] = {}
        if not ended.all():
            infos |= {"is_success": won & ~ended, "_is_success": ~ended}
        if ended.any():
            infos |= self._final_infos(observations, won, ended)
            boards = np.flatnonzero(ended)
            self._restart(boards)
            observations[boards] = self.rules.observe(self._positions[boards])
        return observations, rewards, terminated, truncated, infos

    def _final_infos(self, observations: np.ndarray, won: np.ndarray, ended: np.ndarray) -> dict[str, Any]:
        """Report the ended episodes in the format of `SyncVectorEnv`."""
        final_obs = np.full(self.num_envs, None, object)
        for board in np.flatnonzero(ended):
            final_obs[board] = observations[board].copy()
        final_info = {"is_success": won, "_is_success": ended}
        return {"final_obs": final_obs, "_final_obs": ended, "final_info": final_info, "_final_info": ended}

    def get_state(self) -> dict[str, Any]:
        """Return the state of all boards and their random generators, for `set_state`."""
        generators = [generator.bit_generator.state for generator in self._generators]
        return {"positions": self._positions.copy(), "steps": self._steps.copy(), "generators": generators}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that `get_state` returned, with the same rules. Call `reset` first."""
        self._positions[:], self._steps[:] = state["positions"], state["steps"]
        for generator, generator_state in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = generator_state

    def _restart(self, boards: np.ndarray) -> None:
        starts = np.array([self._generators[board].integers(self.rules.n_starts) for board in boards])
        self._positions[boards] = self.rules.start_positions(starts)
        self._steps[boards] = 0


gym.register(
    id="Blob-v0", entry_point="blob_env:BlobEnv", vector_entry_point="blob_env:BlobVectorEnv", max_episode_steps=200
)
