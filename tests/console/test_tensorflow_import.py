"""TensorFlow is imported quietly, and only with Keras settings that will work."""

from pathlib import Path

import pytest
from scripts import assert_refused, run

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
    fake = "import os; os.write(2, b'noise'); config = type('', (), {'list_logical_devices': lambda: []})"
    (tmp_path / "tensorflow.py").write_text(fake)
    env = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "", "PYTHONPATH": str(tmp_path)}
    imported = run("-c", IMPORT, env=env)
    assert (imported.returncode, imported.stderr) == (0, "")


def test_what_a_failing_import_logs_is_shown(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'the cause\\n'); raise ImportError('no library')")
    failed = run("-c", IMPORT, env={"PYTHONPATH": str(tmp_path), "KERAS_BACKEND": ""})
    assert failed.returncode == 1 and failed.stderr.startswith("the cause\n") and "no library" in failed.stderr
