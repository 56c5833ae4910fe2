"""The arithmetic of `experiments.rainbow`, and its table and plot."""

from pathlib import Path
from typing import Any

import pytest

from config import Config
from experiments import rainbow
from experiments.ablation import read
from experiments.rainbow import PLAIN, VARIANTS, draw, markdown_table, scores, train_all


def rows_of(game: str, variant: str, seed: int, *greedy: float) -> list[dict[str, Any]]:
    values = [(game, variant, seed, 100 * i, 10.0 * i, avg) for i, avg in enumerate(greedy, 1)]
    return [dict(zip(rainbow.CURVES, row, strict=True)) for row in values]


ROWS = [
    *rows_of("Breakout", PLAIN, 1, 99, 1, 2, 3),  # the last three count: 2
    *rows_of("Breakout", PLAIN, 2, 4, 6, 8),  # 6; the mean is 4
    *rows_of("Breakout", "noisy", 1, 6, 6, 6),
    *rows_of("Breakout", "noisy", 2, 10, 10, 10),
]


def test_scores_by_hand() -> None:
    found = scores(ROWS)
    assert found[PLAIN]["Breakout"] == pytest.approx([0.5, 1.5])
    assert found["noisy"]["Breakout"] == pytest.approx([1.5, 2.5])


def test_the_table_and_the_plot(tmp_path: Path) -> None:
    lines = markdown_table(ROWS).splitlines()
    assert lines[2] == "| generic preset | 4.0 | 1.00 (0.50 to 1.50) | 35 |"
    assert lines[3] == "| noisy | 8.0 | 2.00 (1.50 to 2.50) | 30 |"
    draw(ROWS, tmp_path / "rainbow.png")
    assert (tmp_path / "rainbow.png").read_bytes().startswith(b"\x89PNG")


def test_runs_in_the_file_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def pretend(function: Any, game: str, variant: str, seed: int, steps: int) -> list[dict[str, Any]]:
        asked.append((game, variant, seed))
        return rows_of(game, variant, seed, 1.0)

    monkeypatch.setattr(rainbow, "in_own_process", pretend)
    train_all([PLAIN], ["Breakout"], [1], 100, tmp_path / "rainbow.csv")
    train_all([PLAIN, "noisy"], ["Breakout"], [1], 100, tmp_path / "rainbow.csv")
    assert asked == [("Breakout", PLAIN, 1), ("Breakout", "noisy", 1)]
    assert len(read(tmp_path / "rainbow.csv")) == 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_sound_settings(variant: str) -> None:
    config = Config.from_preset(**{"env": "minatar.gym:MinAtar/Breakout-v1", **VARIANTS[variant]})
    assert (config.steps, config.lanes) == (100_000, 8)
