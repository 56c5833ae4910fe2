"""Pictures of environments, in whatever type they are drawn."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from console.errors import InputError
from environments.checked import CheckedEnv

RED = np.array([[[255, 0, 0]]], np.uint8)  # one pixel


class Drawn(gym.Wrapper):
    """CartPole with pictures of another kind."""

    def __init__(self, drawn: Any, mode: str = "rgb_array") -> None:
        super().__init__(gym.make("CartPole-v1", render_mode="rgb_array"))
        self._drawn, self._mode = drawn, mode

    @property
    def render_mode(self) -> str:  # type: ignore[override]
        return self._mode

    def render(self) -> Any:
        if isinstance(self._drawn, type):
            raise self._drawn(3)
        return self._drawn


@pytest.mark.parametrize(
    ("drawn", "pixel"),
    [
        (RED, [255, 0, 0]),
        (RED / 255, [255, 0, 0]),  # floats in [0, 1]
        (RED.astype(np.float32), [255, 0, 0]),  # floats in [0, 255]
        (RED.astype(np.int64), [255, 0, 0]),
        (RED > 0, [255, 0, 0]),
        (np.array([[[255, 0, 0, 128]]], np.uint8), [255, 0, 0]),  # with alpha
        (np.array([[0.5]]), [128, 128, 128]),  # grey: round(127.5) is 128
        (np.array([[[7]]], np.uint8), [7, 7, 7]),
        ([np.zeros_like(RED), RED], [255, 0, 0]),  # of several, the newest
        (RED.tolist(), [255, 0, 0]),
    ],
)
def test_pictures_by_hand(drawn: Any, pixel: list[int]) -> None:
    picture = CheckedEnv(Drawn(drawn), "Drawn").render()
    assert picture.dtype == np.uint8 and picture.tolist() == [[pixel]]


@pytest.mark.parametrize(
    ("drawn", "found"),
    [
        (None, "NoneType"),
        ([], "list"),
        ("a board", "str"),
        (np.full((2, 2, 3), np.nan), r"float64 \(2, 2, 3\)"),
        (RED.astype(int) * 2, "int64"),
        (np.zeros((3, 8, 8), np.uint8), r"uint8 \(3, 8, 8\)"),
    ],
)
def test_what_is_no_picture_is_named(drawn: Any, found: str) -> None:
    with pytest.raises(InputError, match=f"--env Drawn cannot be shown: its render gave {found}"):
        CheckedEnv(Drawn(drawn), "Drawn").render()


def test_other_modes_and_faults() -> None:
    assert CheckedEnv(Drawn("a board", "ansi"), "Drawn").render() == "a board"
    with pytest.raises(InputError, match="fails in render: SystemExit: 3"):
        CheckedEnv(Drawn(SystemExit), "Drawn").render()
