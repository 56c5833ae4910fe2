"""Kills runs at random moments, resumes them, and compares each result with that of a run that was never killed:
python -m experiments.kill_test"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from console.arguments import at_least, make_parser
from console.signals import end_quietly_on_ctrl_c
from reports.curves import read_values
from storage.checkpoint import Checkpoints
from storage.model_file import TABLE, WEIGHTS
from storage.run_folder import read_record

# A run of a few seconds with all that the default run has: priorities, symmetries, a target network that counts
# episodes, and a replay memory that is full before the end. Checkpoints are so frequent that many kills hit one.
SETTINGS = [
    *("--env-args", "size=4", "--episodes", "1200", "--lanes", "8", "--seed", "5"),
    *("--evaluate-every", "200", "--evaluate-episodes", "100", "--batch-size", "64", "--memory-size", "4000"),
    *("--learn-start", "200", "--learn-every", "32", "--target-every", "20", "--epsilon-spread", "1"),
    *("--aggregate-every", "20", "--checkpoint-every", "0.2"),
]
TAGS_OF_TIME = ("run/steps_per_second",)  # they differ from run to run
SHOWN = ("scalars", "images", "histograms")  # plugins of TensorBoard
RESUME = ["--resume", "latest"]


def command(folder: Path, settings: Sequence[str]) -> list[str]:
    """Return a training command that leaves its files in a folder."""
    folders = ["--models-dir", str(folder / "models"), "--logs-dir", str(folder / "logs")]
    return [sys.executable, "train.py", *settings, *folders]


def run_to_the_end(folder: Path, settings: Sequence[str]) -> None:
    """Run a training command.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(command(folder, settings), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(done.args)} ended with {done.returncode}: {done.stderr}")


def starts(folder: Path) -> int:
    """Count the starts of the run in a folder that got past importing and compiling."""
    return sum(len(read_record(path.parent)["starts"]) for path in folder.glob("logs/*/run.json"))


class Kill(NamedTuple):
    """When to kill, and whom.

    Attributes:
        seconds: after the run has started to train or resumed.
        in_checkpoint: whether to wait after that until a file of a checkpoint is half written.
        victims: "the run", or with actors also "an actor" or "all actors", whose run goes on.
    """

    seconds: float
    in_checkpoint: bool
    victims: str = "the run"


def kill_run(folder: Path, settings: Sequence[str], kill: Kill, started: list[psutil.Process]) -> tuple[str, bool]:
    """Start a training command and kill it, or its actors.

    Args:
        folder: for its files.
        settings: of the command.
        kill: when, and whom.
        started: takes the processes that the command has started.

    Returns:
        Where the kill hit, "" if the run had ended before; and whether it ran to its end.
    """
    before = starts(folder)
    process = subprocess.Popen(command(folder, settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and starts(folder) == before:
        time.sleep(0.01)
    ends = time.perf_counter() + kill.seconds
    while process.poll() is None and time.perf_counter() < ends:
        time.sleep(0.001)
    while process.poll() is None and kill.in_checkpoint and not list(folder.glob("logs/*/checkpoints/.*.part")):
        time.sleep(0.0005)
    half_written = bool(list(folder.glob("logs/*/checkpoints/.*.part")))
    if process.poll() is not None:
        return "", True
    children = psutil.Process(process.pid).children(recursive=True)
    started += children
    if kill.victims != "the run":
        killed = 0
        for actor in [child for child in children if is_actor(child)][: 1 if kill.victims == "an actor" else None]:
            with contextlib.suppress(psutil.NoSuchProcess):
                actor.kill()
                killed += 1
        if process.wait():
            raise RuntimeError(f"{kill.victims} were killed, and the run failed")
        return kill.victims if killed else "", True
    process.kill()
    process.wait()
    if not list(folder.glob("logs/*/checkpoints/checkpoint-*.json")):
        return "before the first checkpoint", False
    return "a checkpoint being written" if half_written else "training", False


def is_actor(process: psutil.Process) -> bool:
    """Whether a process is an actor of Ray's, as its title says."""
    with contextlib.suppress(psutil.Error):  # it has just ended
        return "ray::RemoteActor" in " ".join(process.cmdline())
    return False


def fingerprint(folder: Path) -> dict[str, Any]:
    """Read everything that must be the same in the end: state, replay memory, curves and models of a folder's run."""
    (log_dir,) = folder.glob("logs/*/")
    checkpoint = Checkpoints(log_dir / "checkpoints", None).read_newest()
    return {
        "state": repeatable(checkpoint.state),
        "memory": memory_in(checkpoint.state, list(checkpoint.segments), read_record(log_dir)["config"]),
        "curves": curves(log_dir),
        "models": {path.name: weights_in(path) for path in folder.glob("models/*/*")},
    }


def repeatable(state: dict[str, Any]) -> dict[str, Any]:
    """Remove from a checkpoint's state what differs between processes: times, and sizes of logs that hold times."""
    parts = state["parts"]
    del state["events"], parts["clock"]["seconds"], parts["clock"]["speed"]
    parts["epochs"]["callbacks"] = [{**callback, "size": None} for callback in parts["epochs"]["callbacks"]]
    return state


def memory_in(
    state: dict[str, Any], segments: list[dict[str, np.ndarray]], config: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Join the segments of a replay memory, as far as it still holds them; a table has none."""
    if not segments:
        return {}
    memory = {name: np.concatenate([segment[name] for segment in segments]) for name in segments[0]}
    first = state["agent"]["memory"]["appended"] - config["memory_size"] // config["lanes"]
    held, ends = memory["steps"] >= first, memory["last_keys"][:, 0] >= first
    return {name: array[ends if name.startswith("last_") else held] for name, array in memory.items()}


def weights_in(path: Path) -> bytes:
    """Read the weights in a `.model` file, which also holds a date, or the table in an `.npz` file."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(WEIGHTS if path.suffix == ".model" else TABLE)


def curves(log_dir: Path) -> list[tuple[str, int, bytes]]:
    """Read every (tag, step, content) of numbers, pictures and histograms in a run's event files, in order, except
    those of time."""
    return [
        (value.tag, step, value.tensor.SerializeToString())
        for step, value in read_values(log_dir)
        if value.metadata.plugin_data.plugin_name in SHOWN and value.tag not in TAGS_OF_TIME
    ]


def differences(found: Any, expected: Any, path: str = "run") -> list[str]:
    """List where two fingerprints differ in any bit."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        return [text for key in expected for text in differences(found[key], expected[key], f"{path}.{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(found, expected, strict=True))
        return [text for i, pair in pairs for text in differences(*pair, f"{path}[{i}]")]
    if isinstance(expected, np.ndarray) and isinstance(found, np.ndarray):
        same = found.dtype == expected.dtype and found.tobytes() == expected.tobytes()
    else:
        same = found == expected
    return [] if same else [path]


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--kills", type=at_least(1), default=50, help="number of kills (default: %(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=1, help="of the random moments (default: %(default)s)")
    parser.add_argument("--actors", type=at_least(0), default=0, help="of the runs (default: %(default)s)")
    arguments = parser.parse_args()
    settings = [*SETTINGS, "--actors", str(arguments.actors)] if arguments.actors else SETTINGS
    if not test(arguments.kills, arguments.seed, settings):
        sys.exit(1)


def test(kills: int, seed: int, settings: Sequence[str] = SETTINGS) -> bool:
    """Kill runs this many times, some of them more than once before they end, and print every kill and its outcome.

    Returns:
        Whether every run ended like the one that was never killed, and nothing that they started is left.
    """
    generator = np.random.default_rng(seed)
    victims = ["the run", "an actor", "all actors"] if "--actors" in settings else ["the run"]
    done, wrong, hits = 0, 0, []
    started: list[psutil.Process] = []
    with tempfile.TemporaryDirectory() as name:
        reference = Path(name) / "reference"
        run_to_the_end(reference, settings)
        (lock,) = reference.glob("logs/*/.lock")
        seconds = time.time() - lock.stat().st_mtime  # since it began to train
        expected = fingerprint(reference)
        print(f"without a kill: {seconds:.1f} s of training, {len(expected['curves'])} points", flush=True)
        while done < kills:
            folder, is_resuming = Path(name) / "killed", False
            rounds, first = min(kills - done, int(generator.choice([1, 1, 2, 3]))), done
            for _ in range(rounds):
                kill = Kill(float(generator.uniform(0, seconds)), bool(generator.random() < 0.3))
                if len(victims) > 1:
                    kill = kill._replace(victims=str(generator.choice(victims)))
                hit, ended = kill_run(folder, RESUME if is_resuming else settings, kill, started)
                if hit:
                    hits.append(hit)
                    done += 1
                if ended:
                    is_resuming = True
                    break
                if list(folder.glob("logs/*/checkpoints/checkpoint-*.json")):
                    is_resuming = True
                else:
                    shutil.rmtree(folder, ignore_errors=True)
            different = end_and_compare(folder, RESUME if is_resuming else settings, expected)
            wrong += bool(different)
            print(f"{done} kills: {', '.join(hits[first:]) or 'none'}: {different[:5] or 'identical'}", flush=True)
            shutil.rmtree(folder)
    counts = {hit: hits.count(hit) for hit in sorted(set(hits))}
    left = psutil.wait_procs(started, timeout=90)[1]
    print(f"{done} kills ({counts}), {wrong} runs not identical, {len(left)} processes left after 90 s")
    return not wrong and not left


def end_and_compare(folder: Path, settings: Sequence[str], expected: dict[str, Any]) -> list[str]:
    """Run a killed run to its end. Returns where it differs from the expected fingerprint, or why it failed."""
    try:
        run_to_the_end(folder, settings)
    except RuntimeError as error:
        if "is finished" not in str(error):
            return [str(error)]
    return differences(fingerprint(folder), expected)


if __name__ == "__main__":
    main()
