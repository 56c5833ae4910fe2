"""Observations as the rows of a table."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space

from blob_env import BlobRules
from config import Config
from console.errors import InputError
from environments.check import check_env
from environments.table_rows import rows_of, table_shape


@pytest.mark.parametrize(
    "space", [Discrete(7, start=-2), MultiDiscrete([3, 4, 5]), MultiDiscrete([5] * 4, start=[-2] * 4)], ids=str
)
def test_every_observation_has_a_row_of_its_own(space: Any) -> None:
    """Rows are in NumPy's order: the last number counts fastest."""
    starts, sizes = np.atleast_1d(space.start), np.atleast_1d(space.n if isinstance(space, Discrete) else space.nvec)
    numbers = np.stack(np.unravel_index(np.arange(sizes.prod()), sizes), axis=1)
    observations = (numbers + starts).reshape(-1, *space.shape)
    assert rows_of(observations, space).tolist() == list(range(sizes.prod()))
    assert table_shape(space, Discrete(3)) == (sizes.prod(), 3)


def test_a_table_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """10x10: cells 72 MB, offsets 9.4 MB, as float64. 50x50: offsets 6.9 GB, cells more than any machine has."""

    def gigabytes(**options: Any) -> float:
        states, actions = table_shape(BlobRules(**options).observation_space(), Discrete(9))
        return states * actions * 8 / 1e9

    assert gigabytes(observation="cells") == 0.072
    assert gigabytes(observation="offsets") == pytest.approx(0.0094, abs=1e-4)
    with pytest.raises(InputError, match=r"15,625,000,000 states and 9 actions takes 1,125.0 GB, this machine has"):
        gigabytes(size=50, observation="cells")
    with pytest.raises(InputError, match=r"takes 1,125.0 GB"):  # before TensorFlow or a solver is asked
        check_env(Config.from_preset(method="q-learning", env_args={"size": 50}))
    monkeypatch.setattr("environments.table_rows.psutil.virtual_memory", lambda: SimpleNamespace(available=200_000_000))
    cells = BlobRules(observation="cells").observation_space(), Discrete(9)
    assert table_shape(*cells) == (1_000_000, 9)
    with pytest.raises(InputError, match=r"takes 0.1 GB, and twice as much again .* --checkpoint-every 0"):
        table_shape(*cells, copied=True)
    monkeypatch.undo()
    with pytest.raises(InputError, match="observation=cells or observation=offsets"):
        gigabytes()
    many: list[Space] = [Box(0, 1, (4,)), MultiDiscrete(np.full((2, 2), 2))]
    for space in many:
        with pytest.raises(InputError, match="needs Discrete or MultiDiscrete observations"):
            table_shape(space, Discrete(2))
