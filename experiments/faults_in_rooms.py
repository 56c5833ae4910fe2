"""Faults in the rooms, for `python -m experiments.mutate`, and the tests that should notice them."""

from __future__ import annotations

from experiments.faults import SAME_RUN, faults
from experiments.faults_in_replay import REPLAY_FAULTS

RESTORED_ENV = "tests/training/test_resume.py::test_environments_go_on_where_they_stood"
TROUBLE = "tests/training/test_trouble.py"
CHECKPOINTS = "tests/storage/test_safe_checkpoints.py"
ROOM_FAULTS = [
    *REPLAY_FAULTS,
    *faults(
        "environments/actions.py",
        "tests/environments/test_actions.py",
        (
            "an illegal action taken greedily",
            "best_actions(q_values, masks), random",
            "best_actions(q_values, True), random",
        ),
        ("an illegal action taken at random", "random(masks.shape), masks)", "random(masks.shape), True)"),
        ("the reset's mask stored at an episode's end", 'if "final_info" not in infos:', "if True:"),
        ("a mask without a legal action forbids all", "masks | ~masks.any(axis=1, keepdims=True)", "masks"),
    ),
    *faults(
        "environments/lanes.py",
        "tests/environments/test_lanes.py",
        ("steps spent on resetting", "= AutoresetMode.SAME_STEP", "= AutoresetMode.NEXT_STEP"),
        ("successors are the reset's observations", "            _successors(observations, infos),", "observations,"),
    ),
    *faults(
        "environments/make.py",
        "tests/environments/test_make.py",
        ("lives end Atari's episodes", "terminal_on_life_loss=False", "terminal_on_life_loss=True"),
        ("steps counted in frames", "gym.make(spec, max_episode_steps=-1,", "gym.make(spec, max_episode_steps=None,"),
    ),
    *faults(
        "environments/names.py",
        "tests/environments/test_names.py",
        ("a file imported twice", "if (name := str(path)) in sys.modules:", "if (name := str(path)) in ():"),
        (
            "what is no environment is called",
            "isinstance(found, type) and issubclass(found, gym.Env)",
            "callable(found)",
        ),
        ("Atari as it comes", 'if package_of(spec) == "ale_py" else env_id', "if False else env_id"),
    ),
    *faults(
        "environments/dict_parts.py",
        "tests/environments/test_dict_parts.py",
        ("a mask in an observation lost", "info = {MASK: np.asarray(observation[MASK]), **info}", "pass"),
    ),
    *faults(
        "environments/checked.py",
        "tests/environments/test_check.py",
        ("rewards not checked", "if number is None or not np.isfinite(number):", "if number is None:"),
        ("observations not copied", "array = np.array(value)", "array = np.asarray(value)"),
        ("what is not finite taken", "inside &= np.isfinite(array)", "pass"),
        ("infos handed on", "kept: dict[str, Any] = {}", "kept: dict[str, Any] = dict(info)"),
    ),
    *faults(
        "environments/reused.py",
        "tests/environments/test_reused.py",
        ("what was overwritten remembered", "copy if _same(now, given) else now", "now"),
    ),
    *faults(
        "environments/symmetry.py",
        "tests/environments/test_symmetry.py",
        ("actions of another view not turned back", "of_view[:, symmetry.actions] for", "of_view for"),
    ),
    *faults(
        "environments/known.py",
        "tests/environments/test_symmetry.py",
        ("legs not swapped", ", places=[0, 1, 2, 3, 4, 5, 7, 6]", ""),
        ("an action not mirrored", "[0, 3, 2, 1]", "[0, 1, 2, 3]"),
        ("a sign not mirrored", "[1, -1, 1, -1, -1, -1]", "[1, -1, 1, -1, -1, 1]"),
    ),
    *faults(
        "environments/spaces.py",
        "tests/test_layers.py",
        (
            "an import that points up",
            'of all lanes, (lanes, ...)."""',
            'of all lanes, (lanes, ...)."""\n    import replay_memory\n',
        ),
    ),
    *faults(
        "environments/resume.py",
        f"{RESTORED_ENV}[FrozenLake-v1]",
        ("an environment's generator not restored", 'self.np_random.bit_generator.state = state["before"]', "pass"),
    ),
    *faults(
        "environments/resume.py",
        f"{RESTORED_ENV}[ALE/Breakout-v5 4]",
        ("a game's random numbers not restored", "include_rng=True", "include_rng=False"),
        ("a game's older frames not restored", 'env.obs_queue.extend(state["frames"])', "pass"),
    ),
    *faults(
        "environments/resume.py",
        "tests/training/test_resume.py::test_a_lane_that_cannot_be_repeated_starts_a_new_episode",
        ("another observation not noticed", "if all(np.array_equal(np.asarray(a, b.dtype), b) for", "if all(True for"),
    ),
    *faults(
        "storage/checkpoint.py",
        f"{CHECKPOINTS}::test_damaged_checkpoints",
        ("a changed file not noticed", 'if _digest(data) == file["sha256"]:', "if True:"),
        ("a changed manifest not noticed", 'if digest.decode(errors="replace") != _digest(text):', "if False:"),
        ("only the newest checkpoint kept", "KEPT = 2", "KEPT = 1"),
        ("one copy of a segment", 'copies=["", _COPY]', 'copies=[""]'),
    ),
    *faults(
        "storage/checkpoint.py",
        f"{CHECKPOINTS}::test_what_could_not_be_written_leaves_nothing",
        ("files of a failed write stay", "                self._delete_old()\n", "                pass\n"),
    ),
    *faults(
        "storage/checkpoint.py",
        f"{CHECKPOINTS}::test_nothing_else_is_deleted",
        ("others' files deleted", "if _OURS.fullmatch(path.name) and path.name", "if path.is_file() and path.name"),
    ),
    *faults(
        "storage/runs.py",
        f"{CHECKPOINTS}::test_links_out_of_a_run",
        ("links followed", "        if path.is_symlink():\n", "        if False:\n"),
    ),
    *faults(
        "storage/run_folder.py",
        "tests/storage/test_run_folder.py::test_settings_come_from_run_json",
        (
            "a resumed run's settings are not those of run.json",
            "config = settings_of(run_dir, record)",
            "config = Config(**given)",
        ),
    ),
    *faults(
        "storage/model_file.py",
        "tests/storage/test_safe_files.py",
        ("a changed model not noticed", ".encode() != content[-DIGEST_SIZE:]:", ".encode() == b'':"),
        ("packed members taken", "    if not plain or sum(", "    if sum("),
    ),
    *faults(
        "storage/trust.py",
        "tests/storage/test_safe_files.py",
        (
            "code that a file names is run",
            "if any(trusted.get(setting) != value",
            "if any(False and trusted.get(setting) != value",
        ),
    ),
    *faults(
        "storage/trust.py",
        "tests/test_cli.py::test_what_is_repeated_must_be_the_files_own",
        ("another environment than the file's", "not in (None, own):", "in ():"),
    ),
    *faults(
        "storage/loading.py",
        "tests/storage/test_model_file.py::test_a_file_is_opened_once",
        (
            "a model file read twice",
            "    _check_weights(saved, model)\n    for",
            "    from storage.model_file import read_model\n\n    saved = read_model(saved.path)\n    for",
        ),
    ),
    *faults(
        "training/windows.py",
        f"{SAME_RUN}[Blob]",
        (
            "open episodes forgotten",
            'self._returns, self._lengths = state["returns"], state["lengths"]',
            "pass",
        ),
        ("updates since the window's begin forgotten", 'for update in state["updates"].tolist()]', "for update in []]"),
    ),
    *faults(
        "training/epochs.py",
        f"{SAME_RUN}[Blob]",
        ("a resumed window begun twice", 'self._window_is_open = bool(state["window_is_open"])', "pass"),
    ),
    *faults(
        "training/evaluation.py",
        f"{SAME_RUN}[Blob]",
        (
            "the evaluations so far forgotten",
            'self._evaluated_at, self.count = int(state["evaluated_at"]), int(state["count"])',
            "pass",
        ),
    ),
    *faults(
        "training/snapshot.py",
        f"{SAME_RUN}[Blob]",
        ("events after the checkpoint left in", "os.truncate(path, sizes[path.name])", "pass"),
    ),
    *faults(
        "training/snapshot.py",
        "tests/training/test_snapshot.py",
        *(
            (
                f"{part} not restored",
                'part.set_state(state["parts"][name])',
                f'name == "{part}" or part.set_state(state["parts"][name])',
            )
            for part in ("windows", "guard", "evaluation", "contest", "models", "clock", "epochs")
        ),
    ),
    *faults(
        "training/divergence.py",
        "tests/training/test_divergence.py::test_state_round_trip",
        ("the largest reward forgotten", 'self._largest_reward = float(state["largest_reward"])', "pass"),
    ),
    *faults(
        "training/models.py",
        "tests/training/test_models.py",
        (
            "the best model forgotten",
            'self.best = ModelRecord(path, dict(best["scores"]), int(best["episode"]))',
            "pass",
        ),
    ),
    *faults(
        "training/clock.py",
        "tests/training/test_clock.py",
        (
            "the seconds so far forgotten",
            'self._before, self._speed = float(state["seconds"]), float(state["speed"])',
            "pass",
        ),
    ),
    *faults(
        "training/callback_state.py",
        f"{SAME_RUN}[CartPole]",
        ("a logger's rows after the checkpoint left in", "os.truncate(callback.filename", "print(callback.filename"),
        (
            "EarlyStopping starts from scratch",
            "vars(callback).update({name: state[name] for name in _attributes(callback)})",
            "pass",
        ),
    ),
    *faults(
        "training/snapshot.py",
        f"{TROUBLE}::test_a_signal_in_an_evaluation[stopped]",
        ("early stopping forgotten", '= state["stopped_at"] == limits', "= False"),
    ),
    *faults(
        "training/run.py",
        f"{TROUBLE}::test_a_signal_in_an_evaluation",
        ("half an evaluation kept", "        if not self._was_cut_off:\n", "        if True:\n"),
    ),
    *faults(
        "training/run.py",
        f"{TROUBLE}::test_an_extended_run_plays_all_its_episodes",
        ("a surplus of episodes kept", "self._agent.episodes = self._windows.episodes  # without", "pass  # without"),
    ),
    *faults(
        "training/run.py",
        f"{TROUBLE}::test_folders_that_vanish_stop_nothing",
        ("a deleted folder not claimed again", "self._lock = lock_run(self._log_dir)\n            record", "record"),
    ),
    *faults(
        "environments/global_random.py",
        f"{TROUBLE}::test_global_generators_go_on",
        ("NumPy's generator forgotten", 'np.random.set_state(state["numpy"])', "pass"),
    ),
    *faults(
        "cluster/actors.py",
        "tests/cluster/test_actors.py::test_interrupted_anywhere_and_resumed[100]",
        ("a round begun anew on resuming", 'int(state["at"])', "0"),
    ),
    *faults(
        "cluster/actors.py",
        "tests/cluster/test_actors.py::test_fifty_deaths",
        (
            "an actor put where its first one began",
            "        self._state = state\n",
            "        self._state = self._state or state\n",
        ),
    ),
    *faults(
        "cluster/actor.py",
        "tests/cluster/test_actor.py::test_first_td_errors[3-CartPole-v1]",
        ("rewards not clipped in first priorities", "config.clip_rewards(step.rewards)", "step.rewards"),
    ),
    *faults(
        "cluster/actor.py",
        "tests/cluster/test_actor.py::test_chunks_hold_what_was_played",
        ("next observations for an episode's last", "self.successors.get(str(index), next_leaves)", "next_leaves"),
    ),
    *faults(
        "training/tensorboard_callback.py",
        f"{TROUBLE}::test_a_disk_that_is_really_full",
        ("a full disk ends the run", "except (tf.errors.OpError, OSError) as error:", "except KeyError as error:"),
    ),
    *faults(
        "training/tensorboard_callback.py",
        "tests/training/test_pictures.py::test_memory_does_not_grow_with_the_windows",
        (
            "TensorFlow caches every number",
            "tf.summary.experimental.write_raw_pb(summary.SerializeToString())",
            "[tf.summary.scalar(name, number) for name, number in numbers.items()]",
        ),
    ),
    *faults(
        "training/greedy_play.py",
        "tests/environments/test_actions.py::test_an_illegal_action_overestimates_nothing",
        ("an illegal action overestimates", "legal_values(values, masks[active])", "values"),
        ("rewards not clipped in greedy play", "config.clip_rewards(step.rewards)", "step.rewards"),
    ),
    *faults(
        "console/messages.py",
        f"{TROUBLE}::test_nobody_reads",
        ("a closed pipe ends the run", "    except OSError:\n        os.dup2", "    except KeyError:\n        os.dup2"),
    ),
    *faults(
        "blob/solver.py",
        "tests/blob/test_blob_solver.py",
        (
            "the end is bootstrapped",
            "self._rewards + discount * self._goes_on * values",
            "self._rewards + discount * values",
        ),
        ("the worst action taken", "= values, q_values.max(axis=1)", "= values, q_values.min(axis=1)"),
    ),
    *faults(
        "blob/judge.py",
        "tests/blob/test_blob_solver.py",
        (
            "never-ending starts cut short",
            "for _ in range(MAX_STEPS):\n        states[going]",
            "for _ in range(20):\n        states[going]",
        ),
        ("a turned start's actions not turned back", ".T)]][:, view.actions] / len(views)", ".T)]] / len(views)"),
    ),
    *faults(
        "blob/optimal_player.py",
        "tests/viewer/test_play.py::test_the_optimal_player_wins_as_fast_as_possible",
        ("the best play of another game", "if tuple(others) not in solved:", "if not solved:"),
    ),
    *faults(
        "viewer/episode.py",
        "tests/viewer/test_play.py::test_an_episode_by_hand",
        ("an illegal action played", "int(best_actions(values, self._mask[None])[0])", "int(values[0].argmax())"),
        ("actions counted from 0 in play", "self.env.step(action + self._first)", "self.env.step(action)"),
    ),
    *faults(
        "viewer/playback.py",
        "tests/viewer/test_play.py::test_a_person_plays",
        ("others do not wait for the person", "self._paused or self._awaits_person", "self._paused"),
        ("a person's illegal action", "(action is None or not first.is_legal(action))", "action is None"),
    ),
    *faults(
        "viewer/terminal.py",
        "tests/viewer/test_screens.py::test_half_blocks_by_hand",
        ("halves of a block swapped", "zip(colours[::2], colours[1::2]", "zip(colours[1::2], colours[::2]"),
    ),
    *faults(
        "reports/board.py",
        "tests/reports/test_page.py::test_the_table_has_every_board_once",
        ("views that an agent has not", "return views if symmetric else views[:1]", "return views"),
        ("boards that look alike twice", "np.unique(np.min(", "np.unique(np.max("),
    ),
    *faults(
        "reports/curves.py",
        "tests/reports/test_curves.py::test_windows_with_gaps_are_left_out",
        ("windows with gaps are read", " in of.items() if step in complete}", " in of.items()}"),
    ),
]
