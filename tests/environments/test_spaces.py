"""Observations as arrays: their shapes, dtypes and structure."""

import re
from typing import Any

import gymnasium as gym
import numpy as np
import optree
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from console.errors import InputError
from environments.spaces import check_size, example_observation


@pytest.mark.parametrize(
    ("space", "shape", "dtype"),
    [
        (Box(0, 255, (10, 10, 3), np.uint8), (10, 10, 3), np.uint8),
        (Box(-5, 5, (2,), np.int8), (2,), np.int32),  # has negative numbers
        (Box(-1, 1, (4,), np.float64), (4,), np.float32),
        (MultiBinary(2), (2,), np.uint8),
        (Discrete(5, start=-2), (), np.int32),
        (MultiDiscrete([5, 7]), (2,), np.int32),
        (MultiBinary([3, 3]), (3, 3), np.uint8),
    ],
    ids=str,
)
def test_few_bits_hold_every_value(space: gym.Space, shape: tuple[int, ...], dtype: type) -> None:
    example = example_observation(space)
    assert example.shape == shape and example.dtype == dtype and not example.any()
    for _ in range(20):
        sample = np.asarray(space.sample())
        np.testing.assert_allclose(sample.astype(dtype), sample, rtol=1e-6)


def test_the_structure_is_that_of_the_space() -> None:
    space: Any = Dict(b=Tuple([Discrete(3), Box(0, 1, (2,))]), a=Dict(c=MultiBinary(4)))
    example: Any = example_observation(space)
    sample: Any = space.sample()
    assert optree.tree_structure(example) == optree.tree_structure(sample)
    assert [leaf.shape for leaf in optree.tree_leaves(example)] == [(4,), (), (2,)]


def test_numbers_too_large_for_32_bits_do_not_wrap() -> None:
    assert example_observation(Box(0, 2**40, (2,), np.int64)).dtype == np.float32


@pytest.mark.parametrize("space", [Box(0, 1, (0,), np.float32), Tuple([]), Dict()], ids=str)
def test_a_space_that_holds_nothing_is_refused(space: gym.Space) -> None:
    with pytest.raises(InputError, match=r"there is no network for observations of .*: (they hold no|it is empty)"):
        example_observation(space)


def test_a_part_without_a_network_is_named() -> None:
    with pytest.raises(InputError, match=r"no network for observations of Text"):
        example_observation(Dict(a=Discrete(2), b=Text(5)))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            Dict({1: Discrete(2)}),  # type: ignore[dict-item]
            "the key 1: keys must be texts",
        ),
        (Dict({"a": Dict({"b": Discrete(2)}), "a.b": Discrete(2)}), "two parts called 'a.b': rename a key"),
        (Dict({"a/b": Discrete(2), "a|b": Discrete(2)}), "two parts called 'a|b'"),
    ],
)
def test_keys_that_cannot_name_inputs(space: Dict, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        example_observation(space)


def test_what_is_too_large_for_a_network() -> None:
    check_size(Dict({"a": Discrete(50_000), "b": MultiDiscrete([25_000, 25_000])}), 10_000)
    with pytest.raises(InputError, match=r"vectors of 50,001 numbers, more than 50,000: use --method q-learning"):
        check_size(Discrete(50_001), 2)
    with pytest.raises(InputError, match="more than 50,000: describe them by numbers in a Box"):
        check_size(Tuple([Discrete(2), MultiDiscrete([25_000, 25_001])]), 2)
    with pytest.raises(InputError, match="10,001 actions are more than"):
        check_size(Discrete(2), 10_001)
