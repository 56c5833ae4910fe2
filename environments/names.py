"""Find an environment by the name that a user gives it."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from importlib.metadata import entry_points, packages_distributions
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, find_highest_version

from console import PROJECT
from console.errors import InputError
from console.messages import say_once
from environments.known import PACKAGES


def find_spec(name: str) -> tuple[EnvSpec, dict[str, Any]]:
    """Find an environment by `ID`, `module:ID`, `module:ClassName`, `FILE.py:ID` or `FILE.py:ClassName`.

    Returns:
        Its specification, and the options of its package (`PACKAGES`).

    Raises:
        InputError: a module cannot be imported, or there is no such environment.
    """
    module_name, _, env_id = name.rpartition(":")
    module = import_module(module_name) if module_name else None
    found = getattr(module, env_id, None)
    if isinstance(found, type) and issubclass(found, gym.Env):  # call nothing else: the name may come from a model file
        return EnvSpec(env_id, found), {}  # type: ignore[arg-type]
    for prefix, (package, _) in PACKAGES.items():
        if env_id.startswith(prefix):
            import_module(package)
    if env_id not in gym.registry:
        _register_envs(module)
    try:
        spec = gym.spec(env_id)
    except gym.error.Error as error:
        if module:
            raise InputError(
                f"--env {name}: the module has no class {env_id} derived from gymnasium.Env, and registers no such "
                f"environment{_told_apart(module.__name__)}"
            ) from error
        why = str(error).rstrip(".")
        hint = "" if "Please use" in why else _hint(env_id)
        raise InputError(f"there is no environment {name!r}: {why}{'' if why[-1] == '?' else '.'}{hint}") from error
    modern = _modern_atari(env_id) if package_of(spec) == "ale_py" else env_id
    if modern and modern != env_id:
        raise InputError(f"--env {name}: use {modern}, whose screens are preprocessed here and whose actions repeat")
    _warn_of_newer(spec)
    return spec, _options_of(spec)


def package_of(spec: EnvSpec) -> str:
    """The package that makes an environment; "" where it is a class or a function in the user's hands."""
    return spec.entry_point.partition(":")[0].partition(".")[0] if isinstance(spec.entry_point, str) else ""


def _options_of(spec: EnvSpec) -> dict[str, Any]:
    package = package_of(spec)
    return next((options for module, options in PACKAGES.values() if module.partition(".")[0] == package), {})


def import_module(name: str) -> ModuleType:
    """Import a module by its name, or a file by a path that ends in .py.

    Raises:
        InputError: it cannot be imported.
    """
    if "" not in sys.path:
        sys.path.append("")  # find the user's own files in the current folder, wherever the scripts are
    try:
        return _import_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except (ImportError, AttributeError) as error:
        if name == "cv2" or any(name == needed for needed, _ in PACKAGES.values()):
            package = name.split(".")[0]
            raise InputError(
                f"this environment needs the package {package}: pip install -r requirements-extra.txt"
            ) from error
        missed = error.name if isinstance(error, ImportError) else getattr(error.obj, "__name__", None)
        why = _told_apart(str(missed)) or _told_apart(name)
        if name == "gym":
            why = "; leave out gym: in front of the name"
        elif missed == "gym":
            why = "; it is written for the old Gym: look for a version of it for Gymnasium"
        raise InputError(f"--env: cannot import {name} from {Path.cwd()} ({error}){why}") from error
    except SystemExit as error:
        raise InputError(f"--env: importing {name} ended the program, with exit code {error.code}") from error


def _import_file(path: Path) -> ModuleType:
    """Import a file once, under its full path: a module of this project may have its name."""
    path = path.resolve()
    if (name := str(path)) in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if not (path.is_file() and spec and spec.loader):
        raise ImportError("there is no such file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for the files beside it
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _told_apart(module: str) -> str:
    """Say that a module is this project's, to a user who may mean a file of that name of their own."""
    top = module.partition(".")[0]
    own = next((path for path in (PROJECT / f"{top}.py", PROJECT / top / "__init__.py") if path.exists()), None)
    if not own or Path.cwd() == PROJECT:
        return ""
    return f"; {top} is this project's {own}: if you mean a file of yours, give it another name"


def _register_envs(module: ModuleType | None) -> None:
    """Let a package register its environments that does so on demand only, as MinAtar does."""
    register = getattr(module, "register_envs", None)
    if callable(register) and register is not gym.register_envs:
        register()


def _modern_atari(env_id: str) -> str | None:
    """The name ALE/...-v5 of a game of Atari, of which many older names are in use; None if it is no game."""
    match = re.fullmatch(r"(?:ALE/)?(\w+?)(?:-ram)?(NoFrameskip|Deterministic)?(?:-v\d+)?", env_id)
    if not match:
        return None
    with contextlib.suppress(ImportError):
        import ale_py  # noqa: F401 (registers the games)
    modern = f"ALE/{match[1]}-v5"
    return modern if modern in gym.registry or match[2] else None


def _warn_of_newer(spec: EnvSpec) -> None:
    newest = find_highest_version(spec.namespace, spec.name)
    if newest and spec.version is not None and newest > spec.version:
        say_once(f"warning: {spec.id} is old: {spec.id.removesuffix(str(spec.version))}{newest} is its newest version")


def _hint(env_id: str) -> str:
    """Guess what a user means by an ID that is not registered. Imports nothing that a file may name."""
    if modern := _modern_atari(env_id):
        return f" Use {modern}."
    known = {name.rpartition("-v")[0].lower(): name for name in gym.registry}  # the newest version of each
    if meant := known.get(re.sub(r"-v\d+$", "", env_id).lower()):
        return f" Use {meant}."
    is_retro = env_id.startswith("retro/")  # whose thousand games would hide all others
    containing = [n for n in known.values() if env_id.lower() in n.lower() and n.startswith("retro/") == is_retro]
    if containing := [name for name in containing if _modern_atari(name) in (None, name)]:
        return f" Use {' or '.join(containing[:3])}."
    if module := _module_for(env_id):
        return f" If the installed {module} has it, use {module}:{env_id}."
    return f" If a package or a file of yours registers it, name both, as in my_package:{env_id}."


def _module_for(env_id: str) -> str | None:
    """The installed module that seems to register an ID, by its name."""
    first = re.split("[/-]", env_id)[0].lower()
    for point in entry_points(group="gymnasium.envs"):  # in which packages said so to old versions of Gymnasium
        if point.name.lower() == first:
            return point.module
    plain = first.replace("_", "")
    if len(plain) < 4:
        return None
    fits = [module for module in packages_distributions() if module.lower().replace("_", "").startswith(plain)]
    return min((module for module in fits if module.isidentifier() and module[0] != "_"), key=len, default=None)
