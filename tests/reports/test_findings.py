"""Each finding, on a run that was made to have it, and none on a sound one."""

import dataclasses
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from config import Config
from console.errors import InputError
from reports.curves import RunLog, read_run
from reports.findings import find_problems, verdict
from storage.runs import read_entry
from train import train
from training.result import RunResult
from training.summary import summary

MakeConfig = Callable[..., Config]


def findings_of(run: RunResult) -> str:
    return "\n".join(find_problems(read_run(run.log_dir)))


def findings(config: Config) -> str:
    return findings_of(train(config))


def test_a_sound_run(small_config: MakeConfig) -> None:
    config = small_config(
        episodes=600, lanes=8, learn_every=4, batch_size=64, epsilon_decay=0.99, epsilon_min=0.1, evaluate_every=100
    )
    assert findings(config) == ""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"learn_start": 10_000}, r"never learned: in [\d,]+ steps no update .* --learn-start 10,000"),
        ({"epsilon_decay": 1.0}, "epsilon is still 1.00"),
        ({"epsilon_schedule": "steps", "epsilon_steps": 10**6}, "lower --epsilon-steps"),
        ({"memory_size": 80, "learn_start": 50}, r"the memory is too small: --memory-size 80 holds \d"),
        ({"learning_rate": 1e-9}, "stuck at the random level"),
        ({"env_args": {"size": 50}, "steps": 60}, "^no window of episodes ended"),
        ({"env_args": {"size": 50}, "steps": 60, "episodes": 1, "max_episode_steps": 9}, "^it never learned"),
    ],
)
def test_runs_that_were_made_to_be_wrong(small_config: MakeConfig, settings: dict[str, Any], expected: str) -> None:
    assert re.search(expected, findings(small_config(**{"symmetries": False, "max_episode_steps": None, **settings})))


def test_a_run_that_stopped_itself(small_config: MakeConfig) -> None:
    config = small_config(learning_rate=0.05, discount=0.99, loss="mse", reward_clip=0.0, target_update="soft")
    with pytest.raises(InputError, match=r"Q-values average|the loss became"):
        train(dataclasses.replace(config, learning_rate=100.0, target_rate=1.0))
    (log_dir,) = Path(config.logs_dir).iterdir()
    stopped = read_run(log_dir).stopped
    assert re.search("Q-values average|the loss became", stopped)
    (text,) = find_problems(read_run(log_dir))
    assert text == f"it stopped itself: {stopped}"


class Spoil(keras.callbacks.Callback):
    """Before a window begins, sets the Q-value of the first action to a constant far from all others."""

    def __init__(self, window: int, value: float) -> None:
        super().__init__()
        self.window, self.value = window, value

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == self.window:
            kernel, bias = self.model.layers[-1].get_weights()
            self.model.layers[-1].set_weights([0 * kernel, self.value * (np.arange(len(bias)) == 0)])


def test_a_run_that_collapsed(small_config: MakeConfig) -> None:
    """It learned to win; then it always moves the same way."""
    config = small_config(
        episodes=600, lanes=8, learn_every=4, batch_size=64, epsilon_decay=0.995, epsilon_min=0.1, evaluate_every=100,
        learning_rate_schedule="linear", epsilon_spread=0.0, max_episode_steps=None,
    )  # fmt: skip
    # So far off that its last window cannot make it good, and less than the 250 beyond which Q-values ran away.
    run = train(config, [Spoil(29, 240.0)])
    (text,) = find_problems(read_run(run.log_dir))
    assert text.startswith("it collapsed: greedy play reached")


def test_a_run_whose_q_values_ran_away(small_config: MakeConfig) -> None:
    # Rewards of at most 25 and a discount of 0.9 allow 250. 400 is more, and less than the 510 that stop a run.
    run = train(small_config(), [Spoil(2, 400.0)])
    assert re.search(r"Q-values ran away: they average [34]\d\d\.\d, .* allow at most 250.0", findings_of(run))


class Kill(keras.callbacks.Callback):
    """When training begins, makes all units 0 for every observation. No gradient brings them back."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.LayerNormalization):
                gamma, beta = layer.get_weights()
                layer.set_weights([0 * gamma, beta - 1])


def test_a_run_with_a_dead_network(small_config: MakeConfig) -> None:
    found = findings_of(train(small_config(), [Kill()]))
    assert re.search(r"blind: its Q-values are the same whatever it sees \(100% of its units are dead", found)


@pytest.mark.parametrize(("spread", "is_constant"), [(1.9e-4, True), (2.1e-4, False)])
def test_a_constant_q_by_hand(spread: float, is_constant: bool) -> None:
    """Of Q-values of 20, float32 rounds off about 1e-6; a spread of 2e-4 is the limit."""
    curves = {**curves_of([0.0] * 10), "run/q_mean": np.full(10, -20.0), "run/q_spread": np.full(10, spread)}
    found = find_problems(log(Config(episodes=500), curves))
    assert [text.startswith("the network is blind") for text in found] == [True] * is_constant


@pytest.mark.parametrize(("loss", "q_max", "presses"), [("c51", 9.6, True), ("c51", 9.4, False), ("qr", 9.6, False)])
def test_returns_beyond_the_atoms_by_hand(loss: str, q_max: float, presses: bool) -> None:
    """C51 knows returns up to 10: Q-values above 9.5 press against that."""
    log = run_log([5.0], **{"run/q_max": [1.0, q_max]})._replace(config=Config(loss=loss, v_max=10.0))
    found = [text for text in find_problems(log) if "too large for --loss c51" in text]
    assert len(found) == presses and all("Q-values reach 9.6" in text for text in found)


def test_a_run_that_was_not_finished(small_config: MakeConfig) -> None:
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if epoch == 1:
                signal.raise_signal(signal.SIGTERM)

    # The second window is full after 40 episodes; other lanes' may end in the same step.
    assert re.match(r"it was not finished: 4[0-3] of 60 episodes", findings_of(train(small_config(), [Interrupt()])))


def test_a_run_that_a_callback_stopped(small_config: MakeConfig) -> None:
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.model.stop_training = epoch == 1

    run = train(small_config(), [Stop()])
    assert run.stopped and "(stopped by a callback)" in summary(run).splitlines()[0]
    assert findings_of(run) == "it stopped itself: a callback asked it to"
    assert read_entry(run.log_dir).state == "stopped itself"


def test_no_reward_yet() -> None:
    curves = {**curves_of([0.0] * 10), "run/q_mean": np.full(10, 0.1), "run/q_limit": np.zeros(10)}
    assert find_problems(log(Config(episodes=500), curves)) == []


def curves_of(greedy: list[float]) -> dict[str, np.ndarray]:
    """A run of windows of 50 episodes, in which random play earned about -200."""
    n = len(greedy)
    return {
        "run/epsilon": np.linspace(1, 0.1, n),
        "run/steps": np.arange(1, n + 1) * 1_000.0,
        "run/updates": np.arange(1, n + 1) * 10.0,
        "run/episode_length": np.full(n, 20.0),
        "reward/avg": np.full(n, -200.0),
        "reward/min": np.full(n, -300.0),
        "reward/max": np.full(n, -100.0),
        "greedy/avg": np.array(greedy),
    }


def log(config: Config, curves: dict[str, np.ndarray]) -> RunLog:
    episodes = {tag: np.arange(1, len(values) + 1) * 50.0 for tag, values in curves.items()}
    return RunLog(Path(), config, curves, episodes, "")


def test_by_hand() -> None:
    # One window has an epsilon above 0.9. Its returns span 200, about four standard deviations of 50 each, so the mean
    # of its 50 episodes has a standard error of 7.1: a difference of 14 is chance.
    config = Config(episodes=500)
    assert any("stuck" in text for text in find_problems(log(config, curves_of([-200.0] * 9 + [-187.0]))))
    assert find_problems(log(config, curves_of([-200.0] * 9 + [-185.0]))) == []
    assert any(
        "collapsed" in text for text in find_problems(log(config, curves_of([-200, -100, 0, 0, 0, 0, 0, 0, 0, -101])))
    )
    assert find_problems(log(config, curves_of([-200, -100, 0, 0, 0, 0, 0, 0, 0, -99]))) == []
    (text,) = find_problems(log(Config(episodes=501), curves_of([0.0] * 10)))
    assert text.startswith("it was not finished: 500 of 501 episodes")
    (text,) = find_problems(log(Config(episodes=999, steps=20_000), curves_of([0.0] * 10)))
    assert text.startswith("it was not finished: 10,000 of 20,000 steps")
    assert find_problems(log(Config(episodes=501), curves_of([0.0] * 10))._replace(finished=True)) == []
    (text,) = find_problems(log(config, {}))
    assert text.startswith("no window of episodes ended")


def test_a_table_may_learn_from_random_play() -> None:
    """Q-learning with an epsilon of 1 is no mistake, and a table needs no memory. SARSA would learn random play."""
    curves = {**curves_of([-200.0] * 5 + [20.0] * 5), "run/epsilon": np.ones(10)}
    assert find_problems(log(Config(method="q-learning", memory_size=32, episodes=500), curves)) == []
    (text,) = find_problems(log(Config(method="sarsa", episodes=500), curves))
    assert text.startswith("epsilon is still")
    assert len(find_problems(log(Config(lanes=32, memory_size=32, learn_start=32, episodes=500), curves))) == 2


def run_log(greedy: list[float], **curves: list[float]) -> RunLog:
    """A run with an evaluation every 100 episodes."""
    values = {"greedy/avg": greedy, **curves}
    at = {tag: 100.0 * np.arange(1, len(of) + 1) for tag, of in values.items()}
    return RunLog(Path(), Config(), {tag: np.array(of) for tag, of in values.items()}, at, "")


@pytest.mark.parametrize(
    ("greedy", "said"),
    [
        ([], "nothing looks wrong; no greedy evaluation has said how good it is"),
        ([-200.0, 20.0], "nothing looks wrong: greedy play earned 20.00"),
        # All that was gained is 220, a hundredth of it 2.2: the first evaluation within 2.2 of the best is the third.
        (
            [-200.0, 0.0, 18.0, 19.0, 20.0, 19.5, 20.0, 20.0, 20.0, 20.0],
            "nothing looks wrong: greedy play earned 20.00; 99% of what it gained it had by episode 300",
        ),
        # The first one within 2.2 of the best is the ninth of ten.
        (
            [-200.0, -150.0, -100.0, -60.0, -40.0, -20.0, 0.0, 10.0, 18.0, 20.0],
            "nothing looks wrong: greedy play earned 20.00; it was still improving: train longer",
        ),
        ([5.0] * 8, "nothing looks wrong: greedy play earned 5.00; nothing was gained since episode 100"),
    ],
)
def test_the_verdict_on_a_sound_run(greedy: list[float], said: str) -> None:
    assert verdict(run_log(greedy)) == said


def test_a_verdict_compares_what_was_missing_to_the_optimum() -> None:
    """The second look earned most, 25, as more was possible from its few starts. It lacked 7 of the 220 gained in all,
    the third evaluation 1."""
    greedy, optimum = [-199.0, 25.0, 20.0, 21.0, 21.0, 21.0, 21.0], [22.0, 32.0, 22.0, 22.0, 22.0, 22.0, 22.0]
    said = verdict(run_log(greedy, **{"greedy/optimum": optimum, "greedy/random": [-201.0] * 7}))
    assert said.endswith("99% of what it gained it had by episode 300")


@pytest.mark.parametrize(("earned", "percent"), [(21.0, "100.00%"), (20.99, "99.99%"), (-90.0, "50.00%")])
def test_a_verdict_knows_the_optimum(earned: float, percent: str) -> None:
    """Random play earns -201 and optimal play 21, 222 more: -90 is in the middle, 20.99 is 99.995%."""
    log = run_log([earned], **{"greedy/optimum": [21.0], "greedy/random": [-201.0]})
    assert verdict(log) == (
        f"nothing looks wrong: greedy play earned {earned:.2f} of 21.00 possible, {percent} of the optimum"
    )
