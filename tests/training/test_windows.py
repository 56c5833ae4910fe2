"""Windows of episodes: their numbers by hand, several that end in one step, the rest of a run, and their state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config import Config
from environments.lanes import Step
from losses import UpdateStats
from storage.checkpoint import Checkpoints
from training.windows import Episode, EpisodeWindows, Window

NO_UPDATES: list[UpdateStats] = []
ALIKE: dict[str, Any] = {"epsilon_min": 0.5, "epsilon_spread": 0.0}


def step_of(rewards: Sequence[float], terminated: Sequence[bool], truncated: bool = False) -> Step:
    """A step of every lane; all lanes or none are truncated."""
    lanes = len(rewards)
    return Step(np.array(rewards, float), np.array(terminated), np.full(lanes, truncated), np.zeros(lanes))


def all_end(lanes: int) -> Step:
    """A step that every lane's episode, of this one step, ends with. Lane i returns i."""
    return step_of(range(lanes), [True] * lanes)


def test_a_window_by_hand() -> None:
    """Returns are 1 + 2 = 3 and 5 in lane 0, and -1 + 0 - 2 = -3 in lane 1."""
    windows = EpisodeWindows(Config(aggregate_every=3, lanes=2, **ALIKE), 2)
    first, second = UpdateStats(2.0, 1.0, 4.0), UpdateStats(4.0, 2.0, 3.0)
    assert windows.add(step_of([1, -1], [False, False]), NO_UPDATES) == 0
    assert windows.add(step_of([2, 0], [True, False]), [first]) == 1
    assert windows.episodes == 1 and windows.cut() == []
    assert windows.add(step_of([5, -2], [False, False], truncated=True), [second]) == 2
    (window,) = windows.cut()
    assert window == Window(0, 3, [Episode(3.0, 2, 0.5), Episode(5.0, 1, 0.5), Episode(-3.0, 3, 0.5)], [first, second])
    assert window.logs() == pytest.approx(
        {
            "reward_avg": 5 / 3,
            "reward_min": -3,
            "reward_max": 5,
            "episode_length": 2,
            "loss": 3,
            "q_mean": 1.5,
            "q_max": 4,
        }
    )
    assert windows.cut() == [] and (windows.index, windows.episodes) == (1, 3)


def test_the_episodes_of_the_lanes_that_explore_least_are_shown() -> None:
    """Of 32 lanes two never explore in the end; lane i returns i. Where neither ends an episode, it is the next."""
    windows = EpisodeWindows(Config(lanes=32, aggregate_every=32, epsilon_spread=0.5), 32)
    windows.add(step_of([0] * 32, [False] * 32), NO_UPDATES)
    windows.add(all_end(32), NO_UPDATES)
    (window,) = windows.cut()
    # Lane 2 lies at 5/64, which is 1/64 beyond a sixteenth: 1/60 of the rest, half of which the lanes are spread over.
    assert [episode.epsilon for episode in window.episodes[:3]] == pytest.approx([0, 0, 1 / 120])
    logs = window.logs()
    assert (logs["reward_min"], logs["reward_avg"], logs["reward_max"], logs["episode_length"]) == (0, 0.5, 1, 2)
    logs = window.logs(epsilon=1 / 120)  # as high in lane 2 as in the first two
    assert (logs["reward_min"], logs["reward_avg"], logs["reward_max"]) == (0, 1, 2)
    assert window.logs(epsilon=1.0)["reward_max"] == 31
    windows.add(step_of([1] * 32, [False, False] + [True] * 30), NO_UPDATES)
    windows.add(step_of([2] * 32, [False, False] + [True] * 30), NO_UPDATES)
    (window,) = windows.cut()
    logs = window.logs()  # lane 2, twice or once: the window ends with the second episode of the next lane
    assert (logs["reward_min"], logs["reward_avg"], logs["reward_max"]) == (1, 1.5, 2)


def test_all_episodes_are_shown_where_lanes_explore_equally() -> None:
    windows = EpisodeWindows(Config(aggregate_every=9, lanes=9, epsilon_spread=0.0), 9)
    windows.add(all_end(9), NO_UPDATES)
    (window,) = windows.cut()
    logs = window.logs()
    assert (logs["reward_min"], logs["reward_avg"], logs["reward_max"]) == (0, 4, 8)


def test_loss_and_q_values_are_left_out_of_a_window_without_updates() -> None:
    logs = Window(0, 1, [Episode(1.0, 1, 0.5)], NO_UPDATES).logs()
    assert set(logs) == {"reward_avg", "reward_min", "reward_max", "episode_length"} and logs["reward_avg"] == 1


def test_windows_that_end_in_one_step_share_their_updates() -> None:
    windows = EpisodeWindows(Config(aggregate_every=2, lanes=5, **ALIKE), 5)
    first, second = UpdateStats(1.0, 1.0, 1.0), UpdateStats(2.0, 2.0, 2.0)
    windows.add(all_end(5), [first])
    assert windows.cut() == [
        Window(0, 2, [Episode(0.0, 1, 0.5), Episode(1.0, 1, 0.5)], [first]),
        Window(1, 4, [Episode(2.0, 1, 0.5), Episode(3.0, 1, 0.5)], [first]),
    ]
    # Lane 4's episode is left over and begins the next window, whose updates are all new.
    windows.add(all_end(5), [second])
    (third, *_, last) = windows.cut()
    assert third == Window(2, 6, [Episode(4.0, 1, 0.5), Episode(0.0, 1, 0.5)], [second])
    assert last == Window(4, 10, [Episode(3.0, 1, 0.5), Episode(4.0, 1, 0.5)], [second])
    assert windows.cut() == [] and windows.episodes == 10


def test_short_episodes_share_a_window() -> None:
    """Of 5,000 steps, a window has at least 10: five episodes of two steps, although two would do."""
    windows = EpisodeWindows(Config(aggregate_every=2, steps=5_000, lanes=2, **ALIKE), 2)
    cuts = []
    for step in range(10):
        windows.add(step_of([1, 1], [step % 2 == 1] * 2), NO_UPDATES)
        cuts.append([(window.last_episode, len(window.episodes)) for window in windows.cut()])
    assert cuts[1::2] == [[], [], [(5, 5)], [], [(10, 5)]] and not any(cuts[::2])
    assert (windows.index, windows.episodes) == (2, 10)


@pytest.mark.parametrize("limits", [{"steps": 5_000}, {"steps": 10**9, "evaluate_every": 10}])
def test_long_episodes_keep_their_windows(limits: dict[str, Any]) -> None:
    """Of 12 steps, one is a window; of 9 and 1 only both are. Evaluations need windows, whatever the limit."""
    windows = EpisodeWindows(Config(aggregate_every=1, **limits, lanes=1, **ALIKE), 1)
    found = []
    for length in (12, 9, 1):
        for step in range(1, length + 1):
            windows.add(step_of([1], [step == length]), NO_UPDATES)
            found += [window.last_episode for window in windows.cut()]
    assert found == [1, 3]


def test_no_more_episodes_are_counted_than_the_run_has() -> None:
    windows = EpisodeWindows(Config(aggregate_every=2, episodes=7, lanes=5, **ALIKE), 5)
    assert [windows.add(all_end(5), NO_UPDATES) for _ in range(3)] == [5, 2, 0]
    assert [window.last_episode for window in windows.cut()] == [2, 4, 6] and windows.episodes == 7


def test_the_rest_is_a_short_window() -> None:
    windows = EpisodeWindows(Config(aggregate_every=2, lanes=3, **ALIKE), 3)
    assert windows.cut_rest() is None
    update = UpdateStats(1.0, 2.0, 3.0)
    windows.add(all_end(3), NO_UPDATES)
    windows.cut()
    windows.add(step_of([0, 0, 0], [False] * 3), [update])
    assert windows.cut_rest() == Window(1, 3, [Episode(2.0, 1, 0.5)], [update])
    assert windows.cut_rest() is None


def test_a_restarted_lane_forgets_its_episode() -> None:
    windows = EpisodeWindows(Config(aggregate_every=2, lanes=2, **ALIKE), 2)
    windows.add(step_of([10, 10], [False, False]), NO_UPDATES)
    windows.restart_lane(1)
    windows.add(step_of([1, 1], [True, True]), NO_UPDATES)
    (window,) = windows.cut()
    assert window.episodes == [Episode(11.0, 2, 0.5), Episode(1.0, 1, 0.5)]


def test_state_round_trip(tmp_path: Path) -> None:
    """Restored from a checkpoint in the middle of a window, they count on as those that were never saved."""
    config, generator = Config(aggregate_every=4, lanes=3, **ALIKE), np.random.default_rng(0)
    windows, restored = EpisodeWindows(config, 3), EpisodeWindows(config, 3)

    def play(*each: EpisodeWindows) -> list[list[Window]]:
        step = step_of(generator.normal(size=3).tolist(), (generator.random(3) < 0.3).tolist())
        update = UpdateStats(*generator.random(3).tolist())
        for of_each in each:
            of_each.add(step, [update])
        return [of_each.cut() for of_each in each]

    for _ in range(11):
        play(windows)
    state = windows.get_state()
    assert windows.index and len(state["ended"]) and len(state["updates"]) and state["lengths"].any()
    checkpoints = Checkpoints(tmp_path, None)
    checkpoints.write(0, state)
    restored.set_state(checkpoints.read_newest().state)
    assert restored.episodes == windows.episodes
    for _ in range(30):
        found, expected = play(restored, windows)
        assert found == expected
    assert restored.cut_rest() == windows.cut_rest()


def test_a_state_of_another_number_of_lanes_is_refused() -> None:
    state = EpisodeWindows(Config(lanes=3, **ALIKE), 3).get_state()
    with pytest.raises(ValueError, match=r"returns is float64 \(3,\) in the state, float64 \(2,\) here"):
        EpisodeWindows(Config(lanes=2, **ALIKE), 2).set_state(state)
