"""A trained agent for other programs: one network that holds all that the agent does, in their formats."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from console.errors import InputError
from environments.known import symmetries_of
from environments.spaces import batch_of_one, example_observation
from environments.symmetry import Symmetry
from storage.atomic import atomic_write
from storage.loading import load_network, make_saved_env
from storage.model_file import SavedModel

if TYPE_CHECKING:
    import keras  # takes seconds to import, and what is wrong should show before that

# Endings of files; a SavedModel is a folder.
ENDINGS = {"onnx": ".onnx", "litert": ".tflite", "saved_model": "_saved_model", "keras": ".keras"}


def check_export(saved: SavedModel, to: str, out: Path) -> None:
    """Check, before anything slow happens, that a model can be exported.

    Args:
        saved: the model.
        to: a key of `ENDINGS`.
        out: the file or folder to write.

    Raises:
        InputError: it is a table, `out` has another ending or is in the way, or a package is missing.
    """
    if saved.info.config.method != "dqn":
        raise InputError(f"{saved.path} is a table, which needs no export: numpy.load({str(saved.path)!r})['table']")
    if to != "saved_model" and out.suffix != ENDINGS[to]:
        raise InputError(f"--out {out} must end in {ENDINGS[to]}")
    if out.is_dir() or (to == "saved_model" and out.exists()):
        raise InputError(f"--out {out} exists already: name another")
    if to == "onnx" and not find_spec("tf2onnx"):
        raise InputError("--to onnx needs tf2onnx: pip install -r requirements-extra.txt")


def exportable_network(saved: SavedModel) -> keras.Model:
    """Build the network that does what the agent does: from observations as the environment gives them to the mean of
    its Q-values over all symmetries.

    Raises:
        InputError: its environment cannot be made, or its weights do not fit.
    """
    with contextlib.closing(make_saved_env(saved)) as env:
        symmetries = symmetries_of(env) if saved.info.config.symmetries else ()
        network = averaged(load_network(saved, env), symmetries)
        network(batch_of_one(example_observation(env.observation_space)))  # ONNX's converter needs it called once
    return network


def averaged(network: keras.Model, symmetries: Sequence[Symmetry]) -> keras.Model:
    """Return a network whose Q-values are the mean of another's over all symmetries: `networks.mean_q_values`, but made
    of Keras's own operations, so that it can be saved and exported."""
    import keras
    from keras import ops

    if not symmetries:
        return network
    shape, dtype = network.input.shape[1:], network.input.dtype
    observations = keras.Input(shape, dtype=dtype, name="observation")
    numbers = ops.reshape(observations, (-1, int(np.prod(shape))))
    views = ops.concatenate([_view(numbers, symmetry, dtype) for symmetry in symmetries], axis=0)
    values = network(ops.reshape(views, (-1, *shape)))
    values = ops.reshape(values, (len(symmetries), -1, values.shape[1]))
    turned_back = [ops.take(values[i], symmetry.actions, axis=1) for i, symmetry in enumerate(symmetries)]
    return keras.Model(observations, ops.mean(ops.stack(turned_back), axis=0), name="agent")


def _view(numbers: Any, symmetry: Symmetry, dtype: str) -> Any:
    """`Symmetry.observations` of flattened observations (batch, numbers)."""
    from keras import ops

    numbers = ops.take(numbers, symmetry.places, axis=1)
    if symmetry.values is not None:
        numbers = ops.take(np.asarray(symmetry.values).astype(dtype), numbers)
    return numbers * symmetry.signs.astype(dtype) if (symmetry.signs < 0).any() else numbers


def export(network: keras.Model, to: str, out: Path) -> None:
    """Write a network for other programs, whole or not at all.

    Args:
        network: from `exportable_network`.
        to: a key of `ENDINGS`.
        out: the file or folder.

    Raises:
        InputError: it cannot be written, or the format has no counterpart for one of its layers.
    """
    try:
        with _writing(to, out) as path, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the converters, about themselves
            if to == "keras":
                network.save(path)
            else:
                network.export(path, format="tf_saved_model" if to == "saved_model" else to, verbose=False)
    except OSError as error:
        raise InputError(f"--out {out} cannot be written ({error.strerror or error})") from error
    except (ValueError, NotImplementedError, RuntimeError, TypeError) as error:
        raise InputError(f"--to {to}: the network cannot be converted ({type(error).__name__}: {error})") from error


@contextlib.contextmanager
def _writing(to: str, out: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `out` when the block ends."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if to != "saved_model":
        with atomic_write(out, ENDINGS[to]) as path:
            yield path
        return
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        yield Path(folder) / out.name
        shutil.move(Path(folder) / out.name, out)
