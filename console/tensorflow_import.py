"""Import TensorFlow quietly, after checking what would make it fail later and less clearly."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from console.errors import InputError
from console.python_version import check_python


def import_tensorflow() -> None:
    """Import TensorFlow for the first time, without the lines that it logs at every start.

    Raises:
        InputError: an unsupported Python, a Keras backend other than TensorFlow, or Keras settings other than
            channels_last and float32, each of which would fail later and less clearly.
    """
    check_python()
    _check_keras_settings()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # No setting silences what TensorFlow's C++ libraries log while they load: hold standard error back, and show it
    # only if the import fails.
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_logical_devices()  # this is when it looks for a GPU, and logs that there is none
        except Exception:
            held_back.seek(0)
            os.write(standard_error, held_back.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def _check_keras_settings() -> None:
    path = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError):  # as Keras does: no file, or none that can be read, means its defaults
        settings = {}
    if not isinstance(settings, dict):
        raise InputError(f"{path} must hold a JSON object: mend or delete it")
    backend = os.environ.get("KERAS_BACKEND") or settings.get("backend", "tensorflow")
    if backend != "tensorflow":
        raise InputError(f"the Keras backend is {backend!r} (KERAS_BACKEND or {path}): set it to tensorflow")
    for key, needed in (("image_data_format", "channels_last"), ("floatx", "float32")):
        if settings.get(key, needed) != needed:
            raise InputError(f"{key} is {settings[key]!r} in {path}: set it to {needed}")
