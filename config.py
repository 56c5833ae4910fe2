"""The settings of a run: one dataclass is the command line, the JSON in every model and TensorBoard's hparams."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from console.errors import InputError
from console.nearest import answer_flag
from console.settings import check_settings, flag_of, setting
from presets import PRESETS, preset_of, settings_of

METHODS = ("dqn", "q-learning", "sarsa", "expected-sarsa", "sarsa-lambda", "q-lambda")  # see q_table.py
NETWORKS = ("auto", "dense", "small", "tutorial")
DISTRIBUTIONAL = ("c51", "qr", "iqn")
LOSSES = ("huber", "mse", *DISTRIBUTIONAL)
LONGEST_ENV_ARGS = 10_000  # characters: enough for a map drawn in letters, too few to fill the memory


@dataclass(frozen=True)
class Config:
    """The settings of a training run. The flag of `learn_every` is `--learn-every`, and so on.

    Some settings say `may_change=True` (when a run is resumed), `may_repeat=True` (they cannot change, but may be given
    again with --resume), or `compared=False` (they do not set one run apart from another).

    Raises:
        InputError: a setting has the wrong type, is out of bounds, or contradicts another.
    """

    # fmt: off
    preset: str = setting("default", "named settings to start from; other flags change single ones",
        choices=tuple(PRESETS))
    env: str = setting("Blob-v0", "Gymnasium environment with discrete actions: a registered ID, or your own as "
        "module:ClassName, module:ID or FILE.py:ClassName", may_repeat=True)
    env_args: dict[str, Any] = setting({}, "environment options, such as size=8 enemy_moves=true", may_repeat=True)
    episodes: int = setting(25_000, "stop after this many episodes", at_least=1, may_change=True)
    steps: int | None = setting(None, "stop after this many environment steps", at_least=1, may_change=True)
    seed: int | None = setting(None, "seed of all random numbers; without it, one is drawn and recorded",
        at_least=0, at_most=2**32 - 1, compared=False)
    lanes: int = setting(256, "environments stepped side by side", at_least=1, at_most=16_384)
    processes: bool = setting(False, "step each lane in a process of its own: it pays where a step of the environment "
        "takes a millisecond or more", compared=False)
    actors: int = setting(0, "processes on Ray, here or on more machines, that play the lanes while this one learns; 0 "
        "plays and learns in turn", at_least=0, at_most=1_000)
    models_dir: str = setting("models", "folder for .model files", may_repeat=True, compared=False)
    logs_dir: str = setting("logs", "folder for TensorBoard logs, a subfolder per run", may_repeat=True, compared=False)
    aggregate_every: int = setting(50, "least episodes per window; what is logged is aggregated over "
        "windows, about 500 at most where --steps limits the run", at_least=1)
    checkpoint_every: float = setting(60.0, "seconds between checkpoints, from which --resume continues; 0 writes "
        "none", at_least=0, compared=False)
    init_from: str | None = setting(None, ".model file with initial weights for the network")
    evaluate_every: int = setting(5_000, "episodes between greedy evaluations, which choose the best model; steps if "
        "--steps limits the run", at_least=1)
    evaluate_episodes: int = setting(2_000, "seeded starts per greedy evaluation", at_least=1, at_most=1_000_000)
    contest_factor: float = setting(8.0, "at the end, the candidates for the best model play on if it is unclear which "
        "one is: this many times the episodes of all evaluations, at most; 0 plays none", at_least=0, at_most=1_000)

    method: str = setting("dqn", "dqn learns with a network; the others learn with a table and ignore the settings of "
        "networks, replay and targets", choices=METHODS)
    trace_decay: float = setting(0.9, "lambda of sarsa-lambda and q-lambda: decay of eligibility traces per step",
        at_least=0, at_most=1)
    max_episode_steps: int | None = setting(None, "truncate episodes after this many steps, instead of the "
        "environment's own limit", at_least=1)
    frame_stack: int = setting(1, "frames stacked into one observation", at_least=1, at_most=8)
    screen_size: int = setting(84, "height and width to which the screens of Atari, Doom and consoles are brought, in "
        "pixels; below 65 for --network small", at_least=20, at_most=256)

    network: str = setting("auto", "auto picks one by the observation; dense looks at small images without attention; "
        "small has fewer convolutions for screens; tutorial is the 2 x 256 filters of the Blob tutorial; "
        "FILE.py:FUNCTION is your own function from (observation_space, n_actions) to a keras.Model", may_repeat=True)
    learning_rate: float = setting(3e-3, "step size of Adam, or of a table's updates", above=0)
    learning_rate_schedule: str = setting("linear", "linear falls to 0 over the run", choices=("constant", "linear"))
    discount: float = setting(0.9, "weight of a reward that comes one step later", at_least=0, at_most=1)
    n_step: int = setting(1, "rewards summed before the target bootstraps", at_least=1, at_most=1_000)
    double: bool = setting(False, "double DQN: the online network picks the next action, the target network values it")
    dueling: bool = setting(True, "dueling network: one head for the state's value, one for the actions' advantages")
    reward_clip: float = setting(25.0, "clip rewards to this size when learning, but not in reported returns; 0 does "
        "not clip", at_least=0)
    loss: str = setting("huber", "what updates minimise: a loss of the TD error, or of the return's distribution, as "
        "probabilities (c51), fixed quantiles (qr) or quantiles drawn at random (iqn)", choices=LOSSES)
    huber_delta: float = setting(1.0, "TD error beyond which the Huber loss grows linearly, also that of quantiles",
        above=0)
    v_max: float = setting(10.0, "c51: returns from minus this to this have a probability", above=0)
    munchausen: bool = setting(False, "add the scaled log of the policy to the reward")
    noisy: bool = setting(False, "explore by noise on the weights of the dense layers, beside epsilon")
    weight_decay: float = setting(0.1, "share of a weight that an update removes, times the learning rate", at_least=0)
    gradient_clip: float = setting(0.0, "largest global norm of the gradient; 0 does not clip", at_least=0)
    symmetries: bool = setting(True, "learn and act with the symmetries that the environment declares")
    batch_size: int = setting(192, "transitions per update", at_least=1, at_most=65_536)
    prioritized: bool = setting(True, "replay transitions in proportion to their TD error instead of uniformly")
    priority_alpha: float = setting(0.8, "0 draws uniformly, 1 in proportion to the error", at_least=0, at_most=1)
    priority_beta: float = setting(0.0, "share of the bias of prioritized draws that weights correct: more where games "
        "are random", at_least=0, at_most=1)
    memory_size: int = setting(640_000, "transitions in the replay memory", at_least=1)
    learn_start: int = setting(1_000, "transitions in the memory before the first update", at_least=1)
    learn_every: int = setting(88, "environment steps per update", at_least=1)
    target_update: str = setting("episodes", "copy the online network to the target network every --target-every "
        "episodes or updates, or blend it in at every update (soft)", choices=("episodes", "updates", "soft"))
    target_every: int = setting(100, "episodes or updates between copies to the target network", at_least=1)
    target_rate: float = setting(0.005, "share of the online network that a soft update blends in", above=0, at_most=1)
    epsilon_schedule: str = setting("episodes", "decay by a factor per episode, or linearly over steps",
        choices=("episodes", "steps"))
    epsilon_decay: float = setting(0.999, "factor on epsilon per episode", above=0, at_most=1)
    epsilon_steps: int = setting(10_000, "environment steps until a linear decay reaches --epsilon-min", at_least=1)
    epsilon_min: float = setting(0.0, "lowest epsilon, the chance of a random action", at_least=0, at_most=1)
    epsilon_spread: float = setting(4.0, "lanes explore unequally: their lowest epsilons rise evenly from "
        "--epsilon-min by this times the way to 1, which the last lanes reach if it is more than 1",
        at_least=0, at_most=1_000)
    # fmt: on

    def __post_init__(self) -> None:
        check_settings(self)
        if self.network not in NETWORKS and not re.fullmatch(r".+\.py:\w+", self.network):
            raise InputError(f"--network must be {', '.join(NETWORKS)} or FILE.py:FUNCTION, got {self.network!r}")
        if (length := len(str(self.env_args))) > LONGEST_ENV_ARGS:
            raise InputError(f"--env-args takes {LONGEST_ENV_ARGS:,} characters at most, got {length:,}")
        self._check_actors()
        if self.method == "dqn":
            self._check_memory()
            self._check_network()
        else:
            self._check_table()

    def _check_actors(self) -> None:
        if not self.actors:
            return
        if self.lanes % self.actors:
            raise InputError(f"--lanes {self.lanes} cannot be shared evenly by --actors {self.actors}: change one")
        if self.method != "dqn":
            raise InputError(f"--actors play with a network, --method {self.method} learns a table: leave them out")
        if self.processes:
            raise InputError("--actors are processes already: leave out --processes")

    def _check_memory(self) -> None:
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

    def _check_network(self) -> None:
        for flag in self._parts_of_networks() if self.network not in NETWORKS else ():
            raise InputError(f"{flag} needs a network made here: leave it out, or --network {self.network}")
        if self.munchausen and self.double:
            raise InputError("--munchausen values all actions by its policy, so there is none to pick with --double")
        if self.munchausen and self.loss == "c51":
            raise InputError(
                "--munchausen shifts returns by the policy's logarithm, off the atoms of --loss c51: try qr"
            )

    def _parts_of_networks(self) -> list[str]:
        return [f"--loss {self.loss}"] * (self.loss in DISTRIBUTIONAL) + ["--noisy"] * self.noisy

    def network_settings(self) -> dict[str, Any]:
        """Return what `networks.build_q_network` takes beside the spaces."""
        names = ("network", "dueling", "loss", "noisy", "v_max")
        return {"stack": self.frame_stack, **{name: getattr(self, name) for name in names}}

    def _check_table(self) -> None:
        for flag in self._parts_of_networks() + ["--munchausen"] * self.munchausen:
            raise InputError(f"{flag} is for networks, --method {self.method} learns a table: leave it out")
        if self.init_from:
            raise InputError(f"--init-from gives a network its weights, --method {self.method} has none")
        if self.network not in NETWORKS:
            raise InputError(f"--method {self.method} has no network: leave out --network {self.network}")

    @classmethod
    def from_preset(cls, **settings: Any) -> Self:
        """Return the settings of a preset, by default the environment's, with single settings replaced.

        Raises:
            InputError: there is no such setting, or one is wrong, as for the constructor.
        """
        known = [flag_of(each.name) for each in fields(cls)]
        for flag in map(flag_of, settings):
            if flag not in known:
                answer = answer_flag(flag, known)
                raise InputError(f"there is no setting {flag}{'; ' * bool(answer)}{answer}")
        env, method = settings.get("env", cls.env), settings.get("method", cls.method)
        suitable = preset_of(env, method, settings.get("env_args", {}))
        preset = settings_of(settings.setdefault("preset", suitable), suitable)
        env_args = {**preset.get("env_args", {}), **settings.get("env_args", {})}
        return cls(**{**preset, **settings, "env_args": env_args})

    def differences(self) -> dict[str, Any]:
        """Return the settings by which this run differs from others of its environment and preset."""
        settings = {"preset": self.preset, "env": self.env, "method": self.method}
        usual = asdict(type(self).from_preset(**settings))
        leave_out = fields_with("compared", False)
        return {k: v for k, v in asdict(self).items() if v != usual[k] and k not in leave_out}

    def lowest_epsilons(self) -> np.ndarray:
        """Return where the epsilon of each lane stops falling: float64 (lanes,), rising.

        Lanes may explore unequally (Horgan et al. 2018, "Distributed prioritized experience replay", section 4, with
        other numbers): the first ones show how well the agent plays, the last ones go on seeing everything. A sixteenth
        of the lanes has the lowest, the others even steps from there, at most to 1.
        """
        places = (np.arange(self.lanes) + 0.5) / self.lanes
        share = self.epsilon_spread * np.maximum(0, places - 1 / 16) / (15 / 16)
        return self.epsilon_min + (1 - self.epsilon_min) * np.minimum(1, share)

    def epsilon(self, episodes: int, steps: int) -> np.ndarray:
        """Return the probability of a random action after these episodes and environment steps, in each lane: float64
        (lanes,), rising."""
        lowest = self.lowest_epsilons()
        if self.epsilon_schedule == "episodes":
            return np.maximum(lowest, self.epsilon_decay**episodes)
        return np.maximum(lowest, 1 - (1 - self.epsilon_min) * steps / self.epsilon_steps)

    def progress(self, episodes: int, steps: int) -> float:
        """Return the share of the run that is done, 0 to 1: of its episodes or steps, whichever limit is nearer."""
        return min(1.0, max(episodes / self.episodes, steps / self.steps if self.steps else 0.0))

    def clip_rewards(self, rewards: npt.ArrayLike) -> np.ndarray:
        """Return rewards (any shape) as the agent learns from them: clipped to `reward_clip`, unless that is 0."""
        clip = self.reward_clip
        return np.clip(rewards, -clip, clip) if clip else np.asarray(rewards)

    def hparams(self) -> dict[str, bool | int | float | str]:
        """Return the settings for TensorBoard's HParams, which takes numbers, booleans and strings."""
        return {k: v if isinstance(v, bool | int | float) else str(v) for k, v in asdict(self).items()}


def fields_with(fact: str, value: bool = True) -> set[str]:
    """Return the names of the settings with a fact, such as `may_change=True`."""
    return {each.name for each in fields(Config) if each.metadata.get(fact) is value}
