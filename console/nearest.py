"""Nearest names: what somebody may mean by a name that is unknown here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Flags of Keras, Stable-Baselines3, CleanRL and others, and what they are called here.
OURS = {
    "--lr": "--learning-rate",
    "--alpha": "--learning-rate",
    "--gamma": "--discount",
    "--epochs": "--episodes",
    "--n-episodes": "--episodes",
    "--num-episodes": "--episodes",
    "--timesteps": "--steps",
    "--n-timesteps": "--steps",
    "--total-timesteps": "--steps",
    "--max-steps": "--steps",
    "--env-id": "--env",
    "--environment": "--env",
    "--game": "--env",
    "--env-kwargs": "--env-args",
    "--n-envs": "--lanes",
    "--num-envs": "--lanes",
    "--buffer-size": "--memory-size",
    "--replay-size": "--memory-size",
    "--learning-starts": "--learn-start",
    "--warmup": "--learn-start",
    "--train-freq": "--learn-every",
    "--train-frequency": "--learn-every",
    "--target-update-interval": "--target-every",
    "--target-network-frequency": "--target-every",
    "--tau": "--target-rate",
    "--batch": "--batch-size",
    "--epsilon": "--epsilon-min",
    "--end-e": "--epsilon-min",
    "--exploration-final-eps": "--epsilon-min",
    "--exploration-fraction": "--epsilon-steps",
    "--max-grad-norm": "--gradient-clip",
    "--eval-freq": "--evaluate-every",
    "--n-eval-episodes": "--evaluate-episodes",
    "--log-dir": "--logs-dir",
    "--logdir": "--logs-dir",
    "--tensorboard-log": "--logs-dir",
    "--save-dir": "--models-dir",
    "--load": "--init-from",
    "--weights": "--init-from",
    "--policy": "--network",
    "--algo": "--method",
    "--continue": "--resume",
    "--output": "--out",
    "--video": "--record",
    "--gif": "--record",
}
ANSWERS = dict.fromkeys(("--gpu", "--gpus", "--device", "--cuda"), "a GPU is used wherever TensorFlow finds one")
ANSWERS |= dict.fromkeys(
    ("--render", "--capture-video", "--video", "--gif"), "play.py shows and records trained models"
)
ANSWERS |= dict.fromkeys(("--verbose", "--progress-bar"), "it shows its progress anyway")


def answer_flag(flag: str, known: Iterable[str]) -> str:
    """Answer an unknown flag: with ours of that meaning, a sentence, or a similar one; "" if nothing comes near.

    Args:
        flag: as it was typed, perhaps with "=value".
        known: the flags of the script.
    """
    flag, known = flag.partition("=")[0].replace("_", "-"), list(known)
    if (ours := OURS.get(flag)) in known:
        return f"here it is {ours}"
    if flag in ANSWERS:
        return ANSWERS[flag]
    return did_you_mean(flag, known).removeprefix("; ")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ask whether a similar name was meant, to add to a message; "" if none is similar."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, 1)
    return f"; did you mean {by_lower[near[0]]}?" if near else ""
