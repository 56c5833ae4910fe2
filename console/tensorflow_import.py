"""Import TensorFlow quietly, after checks of what would otherwise fail later and less clearly."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from console.errors import InputError
from console.python_version import check_python

NEEDED = {"image_data_format": "channels_last", "floatx": "float32"}  # in Keras's own settings


def import_tensorflow() -> None:
    """Import TensorFlow for the first time, without the lines it logs at every start.

    Raises:
        InputError: as `check_installation`.
    """
    check_installation()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _hold_back_stderr():
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            with contextlib.suppress(RuntimeError):  # a program has used it before
                tf.config.experimental.set_memory_growth(gpu, True)  # else the first run takes all of its memory
        tf.config.list_logical_devices()  # looks for a GPU now, and logs if there is none


def check_installation() -> None:
    """Check what would fail after the seconds that importing TensorFlow takes.

    Raises:
        InputError: this Python is not supported, or Keras is set to another backend, to channels_first or to another
            type of float.
    """
    check_python()
    _check_legacy()
    _check_keras_settings()


@contextlib.contextmanager
def _hold_back_stderr() -> Iterator[None]:
    """Hold back standard error, and show it only if the block fails.

    TensorFlow's C++ libraries log while they load, and no setting silences them: redirect the file descriptor itself.
    """
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception:
            held_back.seek(0)
            os.write(standard_error, held_back.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def _check_keras_settings() -> None:
    path = Path(os.environ.get("KERAS_HOME") or _keras_home()) / "keras.json"
    settings = _read_keras_settings(path)
    backend = os.environ.get("KERAS_BACKEND") or settings.get("backend", "tensorflow")
    if backend != "tensorflow":
        raise InputError(f"the Keras backend is {backend!r} (KERAS_BACKEND or {path}): set it to tensorflow")
    for key, needed in NEEDED.items():
        if settings.get(key, needed) != needed:
            raise InputError(f"{key} is {settings[key]!r} in {path}: set it to {needed}")


def _keras_home() -> Path:
    """Where Keras looks for its settings: a user of a container may have no home."""
    home = os.path.expanduser("~")  # not Path.home(), which raises then
    return Path(home if os.access(home, os.W_OK) else "/tmp") / ".keras"


def check_keras() -> None:
    """Check the settings of Keras that a program may have changed since it was imported.

    Raises:
        InputError: they do not suit: networks here compute in float32, and their images have the channels last.
    """
    _check_legacy()
    import keras

    found = {
        "keras.config.image_data_format()": (keras.config.image_data_format(), "channels_last"),
        "keras.config.floatx()": (keras.config.floatx(), "float32"),
        "keras.config.dtype_policy()": (keras.config.dtype_policy().name, "float32"),
    }
    for where, (setting, needed) in found.items():
        if setting != needed:
            raise InputError(f"{where} is {setting!r}: set it to {needed!r} before training")


def _check_legacy() -> None:
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        raise InputError("TF_USE_LEGACY_KERAS asks for Keras 2, this is Keras 3: unset it")


def _read_keras_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError):  # Keras also falls back to its defaults if the file is missing or unreadable
        return {}
    if not isinstance(settings, dict):
        raise InputError(f"{path} must hold a JSON object: fix or delete it")
    return settings
