"""TensorFlow is imported quietly, and only with Keras settings that will work."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import keras
import pytest
import tensorflow as tf
from scripts import ROOT, assert_refused, run

import console.tensorflow_import as tensorflow_import
from console.errors import InputError
from networks import build_q_network

IMPORT = (
    "from console.errors import exit_on_bad_input; from console.tensorflow_import import import_tensorflow\n"
    "with exit_on_bad_input(): import_tensorflow()"
)


@pytest.mark.parametrize(
    ("settings", "env", "words"),
    [
        ('{"backend": "jax"}', {}, ["backend is 'jax'", "tensorflow"]),
        ('{"image_data_format": "channels_first"}', {}, ["channels_first", "channels_last"]),
        ('{"floatx": "float16"}', {}, ["float16", "float32"]),
        ("{}", {"KERAS_BACKEND": "torch"}, ["'torch'", "KERAS_BACKEND"]),
        ("[]", {}, ["keras.json", "JSON object"]),
        ("{}", {"TF_USE_LEGACY_KERAS": "1"}, ["TF_USE_LEGACY_KERAS", "unset it"]),
    ],
)
def test_keras_settings_that_do_not_suit(settings: str, env: dict[str, str], words: list[str], tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text(settings)
    home = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "", **env}
    assert_refused(run("-c", IMPORT, env=home), *words)


def test_training_checks_keras_settings(tmp_path: Path) -> None:
    folders = ["--models-dir", str(tmp_path / "m"), "--logs-dir", str(tmp_path / "l")]
    assert_refused(run("train.py", *folders, env={"KERAS_BACKEND": "torch"}), "'torch'", "KERAS_BACKEND")


@pytest.mark.parametrize("text", ["", "not JSON", '{"backend": "tensorflow", "floatx": "float32"}'])
def test_keras_settings_that_suit(text: str, tmp_path: Path) -> None:
    """What TensorFlow logs while it loads is not shown."""
    (tmp_path / "keras.json").write_text(text)
    devices = "'list_physical_devices': lambda kind: [], 'list_logical_devices': lambda: []"
    fake = f"import os; os.write(2, b'noise'); config = type('', (), {{{devices}}})"
    (tmp_path / "tensorflow.py").write_text(fake)
    env = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "", "PYTHONPATH": str(tmp_path)}
    imported = run("-c", IMPORT, env=env)
    assert (imported.returncode, imported.stderr) == (0, "")


def test_what_a_failing_import_logs_is_shown(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'the cause\\n'); raise ImportError('no library')")
    failed = run("-c", IMPORT, env={"PYTHONPATH": str(tmp_path), "KERAS_BACKEND": ""})
    assert failed.returncode == 1 and failed.stderr.startswith("the cause\n") and "no library" in failed.stderr


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number: Keras falls back to /tmp."""
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as it then is
    assert tensorflow_import._keras_home() == Path("/tmp/.keras")


@pytest.mark.parametrize(
    ("change", "change_back"),
    [
        (lambda: keras.config.set_floatx("float16"), lambda: keras.config.set_floatx("float32")),
        (lambda: keras.config.set_dtype_policy("mixed_float16"), lambda: keras.config.set_dtype_policy("float32")),
        (
            lambda: keras.config.set_image_data_format("channels_first"),
            lambda: keras.config.set_image_data_format("channels_last"),
        ),
    ],
)
def test_settings_changed_in_python(change: Callable[[], None], change_back: Callable[[], None]) -> None:
    tensorflow_import.check_keras()
    change()
    try:
        with pytest.raises(
            InputError, match=r"keras.config.\w+\(\) is '(mixed_float16|float16|channels_first)': set it"
        ):
            build_q_network(gym.spaces.Discrete(2), 2)
    finally:
        change_back()


def test_standard_error_may_be_closed() -> None:
    """A file opened later would else take its number, and be given what is meant for the terminal."""
    code = (
        "import os, console.messages as m; m.say('nobody hears'); "
        "print(os.path.sameopenfile(2, os.open(os.devnull, os.O_WRONLY)))"
    )
    command = ["sh", "-c", f'exec {sys.executable} -c "{code}" 2>&-']
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n")


def test_a_gpu_gives_memory_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    grown: list[tuple[str, bool]] = []

    def grow(gpu: str, on: bool) -> None:
        grown.append((gpu, on))
        if gpu == "used":
            raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["used", f"a {kind}"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    tensorflow_import.import_tensorflow()
    assert grown == [("used", True), ("a GPU", True)]
