"""The settings of a run: one dataclass is the command line, the JSON in every model and the TensorBoard hparams."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from console.errors import InputError
from presets import PRESETS, preset_of

NETWORKS = ("auto", "dense", "per-action", "tutorial")


METHODS = ("dqn", "q-learning", "sarsa", "expected-sarsa", "sarsa-lambda", "q-lambda")  # see q_table.py


LONGEST_ENV_ARGS = 10_000  # a map drawn in letters is fine, one that fills the memory is not


def _setting(default: Any, help: str, **bounds: Any) -> Any:
    """A field with its help text and bounds: at_least, above, at_most (numbers) or choices."""
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"help": help, **bounds})
    return field(default=default, metadata={"help": help, **bounds})


@dataclass(frozen=True)
class Config:
    """All settings of a training run. The flag of `learn_every` is `--learn-every`, and so on.

    Raises:
        InputError: a setting has the wrong type or lies outside its bounds.
    """

    preset: str = _setting(
        "default", "named settings to start from, the environment's own without it; other flags change single ones"
    )
    env: str = _setting(
        "Blob-v0",
        "Gymnasium environment with discrete actions: a registered ID, or module:ClassName or module:ID of your own",
    )
    env_args: dict[str, Any] = _setting({}, "options of the environment, e.g. size=8 enemy_moves=true")
    episodes: int = _setting(25_000, "episodes to play at most", at_least=1)
    steps: int | None = _setting(None, "environment steps to play at most", at_least=1)
    seed: int | None = _setting(
        None, "seed of every random draw; without one a seed is drawn and recorded", at_least=0, at_most=2**32 - 1
    )
    lanes: int = _setting(32, "environments stepped side by side", at_least=1, at_most=16_384)
    models_dir: str = _setting("models", "folder for .model files")
    logs_dir: str = _setting("logs", "folder for TensorBoard's event files, one folder a run")
    aggregate_every: int = _setting(
        50, "episodes in a window: what is logged and shown is aggregated over it", at_least=1
    )
    checkpoint_every: float = _setting(
        60.0, "seconds between checkpoints, from which --resume goes on; 0 writes none", at_least=0
    )
    init_from: str | None = _setting(None, "a .model file whose weights the network starts from")
    evaluate_every: int = _setting(
        1_000,
        "episodes between greedy evaluations, which choose the best model; steps in a run that --steps limits",
        at_least=1,
    )
    evaluate_episodes: int = _setting(2_000, "seeded starts in every greedy evaluation", at_least=1, at_most=1_000_000)

    method: str = _setting(
        "dqn",
        "dqn learns with a network; the others with a table, for which settings of networks, replay and targets do not "
        "matter",
        choices=METHODS,
    )
    trace_decay: float = _setting(
        0.9, "lambda of sarsa-lambda and q-lambda: what is left of an eligibility a step later", at_least=0, at_most=1
    )
    max_episode_steps: int | None = _setting(
        None, "steps after which an episode is truncated, instead of the environment's own limit", at_least=1
    )
    frame_stack: int = _setting(
        1, "newest frames that an observation is made of, itself included", at_least=1, at_most=8
    )

    network: str = _setting(
        "auto",
        "auto picks by the observation; dense sees small images without attention; per-action is a network like auto's "
        "for every action; tutorial is the 2 x 256 filters of the Blob tutorial; FILE.py:FUNCTION is your own, a "
        "function from (observation_space, n_actions) to a keras.Model",
    )
    learning_rate: float = _setting(3e-3, "Adam's step size", above=0)
    learning_rate_schedule: str = _setting(
        "linear", "whether the rate falls linearly to 0 over the run", choices=("constant", "linear")
    )
    discount: float = _setting(0.9, "worth of a reward one step later", at_least=0, at_most=1)
    n_step: int = _setting(1, "rewards summed before the target bootstraps", at_least=1, at_most=1_000)
    double: bool = _setting(False, "double DQN: the online network picks the next action, the target network values it")
    dueling: bool = _setting(False, "dueling network: the observation's value and the actions' advantages apart")
    reward_clip: float = _setting(
        25.0, "largest size of a reward while learning; 0 does not clip. Reported returns are not clipped", at_least=0
    )
    loss: str = _setting("huber", "loss of the TD error", choices=("huber", "mse"))
    huber_delta: float = _setting(25.0, "TD error beyond which the Huber loss grows linearly", above=0)
    weight_decay: float = _setting(
        0.1, "share of every weight that an update takes away, times the learning rate", at_least=0
    )
    gradient_clip: float = _setting(0.0, "largest global norm of the gradient; 0 does not clip", at_least=0)
    symmetries: bool = _setting(True, "learn and act in all views under which the environment says it is the same")
    batch_size: int = _setting(256, "transitions in an update", at_least=1, at_most=65_536)
    prioritized: bool = _setting(True, "replay transitions in proportion to their TD error instead of uniformly")
    priority_alpha: float = _setting(0.6, "0 draws uniformly, 1 in full proportion to the error", at_least=0, at_most=1)
    priority_beta: float = _setting(
        0.4, "share of the bias of prioritized draws that weights undo; rises to 1 over the run", at_least=0, at_most=1
    )
    memory_size: int = _setting(250_000, "transitions in the replay memory", at_least=1)
    learn_start: int = _setting(1_000, "transitions in the memory before the first update", at_least=1)
    learn_every: int = _setting(16, "environment steps for each update", at_least=1)
    target_update: str = _setting(
        "episodes",
        "what the target network's copying counts; soft blends at every update, none does without a target network",
        choices=("episodes", "updates", "soft", "none"),
    )
    target_every: int = _setting(100, "episodes or updates between copies to the target network", at_least=1)
    target_rate: float = _setting(0.005, "share of the online network blended in by a soft update", above=0, at_most=1)
    epsilon_schedule: str = _setting(
        "episodes",
        "epsilon decays by a factor each episode, or falls linearly over steps",
        choices=("episodes", "steps"),
    )
    epsilon_decay: float = _setting(0.999, "factor on epsilon after each episode", above=0, at_most=1)
    epsilon_steps: int = _setting(10_000, "environment steps of the linear fall", at_least=1)
    epsilon_min: float = _setting(0.5, "the lowest epsilon", at_least=0, at_most=1)

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check(flag_of(setting.name), getattr(self, setting.name), str(setting.type), setting.metadata)
        if self.preset not in PRESETS:
            raise InputError(f"--preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        if self.network not in NETWORKS and not re.fullmatch(r".+\.py:\w+", self.network):
            raise InputError(f"--network must be {', '.join(NETWORKS)} or FILE.py:FUNCTION, got {self.network!r}")
        if len(str(self.env_args)) > LONGEST_ENV_ARGS:
            raise InputError(
                f"--env-args takes {LONGEST_ENV_ARGS:,} characters at most, got {len(str(self.env_args)):,}"
            )
        if self.method != "dqn":
            if self.init_from:
                raise InputError(f"--init-from gives a network its weights, --method {self.method} has none")
            if self.network not in NETWORKS:
                raise InputError(f"--method {self.method} has no network: leave out --network {self.network}")
            return
        if self.network == "per-action" and self.dueling:
            raise InputError("--dueling tells the actions of one network apart, --network per-action has one for each")
        if self.memory_size < self.lanes:
            raise InputError(f"--memory-size {self.memory_size} cannot hold one step of --lanes {self.lanes}: raise it")
        if self.learn_start > self.memory_size // self.lanes * self.lanes:
            raise InputError(
                f"--learn-start {self.learn_start} is more than the memory of {self.memory_size} transitions can "
                "hold, so it would never learn: lower it or raise --memory-size"
            )
        if self.steps and self.learn_start > self.steps:
            raise InputError(
                f"--learn-start {self.learn_start} is more than --steps {self.steps}, so it would never learn: lower it"
            )

    @classmethod
    def from_preset(cls, **settings: Any) -> Self:
        """The settings of a preset, by default the environment's own, and these instead of single ones of them.

        Raises:
            InputError: as the constructor.
        """
        suitable = preset_of(settings.get("env", cls.env), settings.get("method", cls.method))
        preset = settings.setdefault("preset", suitable)
        given = PRESETS.get(preset, {})
        env_args = {**given.get("env_args", {}), **settings.get("env_args", {})}
        return cls(**{**given, **settings, "env_args": env_args})

    def epsilon(self, episodes: int, steps: int) -> float:
        """The chance of a random action after so many episodes and environment steps, as `epsilon_schedule` says."""
        if self.epsilon_schedule == "episodes":
            return max(self.epsilon_min, self.epsilon_decay**episodes)
        return max(self.epsilon_min, 1 - (1 - self.epsilon_min) * steps / self.epsilon_steps)

    def progress(self, episodes: int, steps: int) -> float:
        """The share of the run that is done, 0 to 1: of its episodes or its steps, whichever will end it."""
        return min(1.0, max(episodes / self.episodes, steps / self.steps if self.steps else 0.0))

    def clip_rewards(self, rewards: npt.ArrayLike) -> npt.ArrayLike:
        """Clip rewards, float (n,), to learn from: to `reward_clip` in size, or not at all if that is 0."""
        return np.clip(rewards, -self.reward_clip, self.reward_clip) if self.reward_clip else rewards

    def hparams(self) -> dict[str, bool | int | float | str]:
        """The settings as TensorBoard's HParams takes them: anything but numbers and booleans as text."""
        return {k: v if isinstance(v, bool | int | float) else str(v) for k, v in asdict(self).items()}


def flag_of(name: str) -> str:
    """The command line flag of a setting."""
    return "--" + name.replace("_", "-")


def _check(flag: str, value: Any, type_name: str, bounds: Any) -> None:
    """Raise InputError unless the value has the type and lies within the bounds."""
    kind = type_name.removesuffix(" | None").split("[")[0]
    if value is None and type_name.endswith("| None"):
        return
    kinds: Any = {"int": int, "float": (int, float), "str": str, "bool": bool, "dict": dict}[kind]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind != "bool"):
        raise InputError(f"{flag} must be of type {kind}, got {value!r}")
    if kind in ("int", "float") and not abs(value) < (2**63 if kind == "int" else 1e308):
        raise InputError(f"{flag} must be a finite number, got {value}")
    if "at_least" in bounds and value < bounds["at_least"]:
        raise InputError(f"{flag} must be at least {bounds['at_least']}, got {value}")
    if "above" in bounds and value <= bounds["above"]:
        raise InputError(f"{flag} must be above {bounds['above']}, got {value}")
    if "at_most" in bounds and value > bounds["at_most"]:
        raise InputError(f"{flag} must be at most {bounds['at_most']}, got {value}")
    if "choices" in bounds and value not in bounds["choices"]:
        raise InputError(f"{flag} must be one of {', '.join(bounds['choices'])}, got {value!r}")
