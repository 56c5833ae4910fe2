"""The faults that `python -m experiments.mutate` puts into a copy of the project, and the tests that should notice."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A fault to put into a file of the project, and the tests that should notice it: a file, or one test of a slow
    file as pytest names it (file::test)."""

    name: str
    file: str
    old: str
    new: str
    tests: str


def _faults(file: str, tests: str, *texts: tuple[str, str, str]) -> list[Fault]:
    return [Fault(name, file, old, new, tests) for name, old, new in texts]


SAME_RUN = "tests/test_resume.py::test_interrupted_and_resumed_is_the_same"
GO_ON = "tests/test_resume.py::test_environments_go_on_where_they_stood"
FAULTS = [
    *_faults(
        "replay_memory.py",
        "tests/test_replay_memory.py",
        ("terminal bootstrapped", "discounts[self._terminated[last % self._rows, lanes]] = 0", "pass"),
        ("truncation taken as terminal", "discounts[self._terminated[last", "discounts[self._ended[last"),
        ("wrong action stored with a state", "self._actions[rows, lanes],", "self._actions[last % self._rows, lanes],"),
        ("n-step discount power wrong", "            discounts[goes_on] *= discount\n", ""),
        ("n-step return runs into the next episode", "~self._ended[last % self._rows, lanes] & (last <", "(last <"),
        (
            "n-step return runs past the newest step",
            "~self._ended[last % self._rows, lanes] & (last < newest)",
            "~self._ended[last % self._rows, lanes]",
        ),
        (
            "reset observation given back",
            "for i in np.flatnonzero(self._ended[steps % self._rows, lanes]):",
            "for i in ():",
        ),
        (
            "a stack runs into the episode before",
            "(before < 0) | self._ended[before % self._rows, lanes]",
            "before < 0",
        ),
        ("a stack's oldest frame overwritten", "maxlen // lanes + stack", "maxlen // lanes + 1"),
        ("the mask of the observation, not the next", "_next_masks[last % self._rows", "_next_masks[rows"),
    ),
    *_faults(
        "prioritized_replay.py",
        "tests/test_prioritized_replay.py",
        ("priorities not raised to alpha", "+ self.EPSILON) ** self._alpha", "+ self.EPSILON)"),
        (
            "sign of the TD error in the priority",
            "(np.abs(td_errors) + self.EPSILON)",
            "(np.maximum(td_errors, 0) + self.EPSILON)",
        ),
        ("what fell off is still drawn", "lanes + lanes] = 0\n", "lanes + lanes] = 1\n"),
        ("sum tree forgets what it passed on the left", "sums -= np.where(right, left, 0)", "pass"),
        ("sum tree's inner sums not kept", "while nodes[0] > 1:", "while False:"),
    ),
    *_faults(
        "agent.py",
        "tests/test_agent.py",
        ("sign of the TD target", "returns + discounts * self._bootstrap", "returns - discounts * self._bootstrap"),
        ("wrong action gathered", "tf.gather(q_values, actions, batch_dims=1)", "tf.reduce_max(q_values, axis=1)"),
        (
            "gradient flows through the target",
            "        targets = returns + discounts * self._bootstrap(next_, next_masks)\n"
            "        with tf.GradientTape() as tape:\n",
            "        with tf.GradientTape() as tape:\n"
            "            targets = returns + discounts * tf.reduce_max(self.online(next_), axis=1)\n",
        ),
        ("target network not used", "else self.target", "else self.online"),
        ("double DQN picks with the target network", "self.online(next_observations) if", "values if"),
        ("an illegal action bootstrapped", "tf.where(masks, choosing, choosing.dtype.min)", "choosing"),
        ("masks not seen from the batch's view", "batch.next_masks[:, np.argsort(view.actions)]", "batch.next_masks"),
        ("Huber loss squares every error", "tf.where(size <= delta,", "tf.where(size >= 0,"),
        (
            "target not equal to online at the start",
            "for _ in range(2)\n        )\n        self.copy_to_target()\n",
            "for _ in range(2)\n        )\n",
        ),
        ("target never synced, counting episodes", "and episodes // every > self.episodes // every:", "and False:"),
        ("target never synced, counting updates", "self.updates % config.target_every == 0:", "False:"),
        ("one update however many are due", "for _ in range(due)]", "for _ in range(min(due, 1))]"),
        ("importance weights not applied", "tf.reduce_mean(weights * losses)", "tf.reduce_mean(losses)"),
        (
            "importance weights grow with the chance",
            "(chances / chances.min()) ** -beta",
            "(chances / chances.min()) ** beta",
        ),
        ("priorities never set", "self.memory.set_priorities(batch.slots, td_errors.numpy())", "pass"),
        ("rewards not clipped", "rewards = np.clip(rewards, -", "np.clip(rewards, -"),
        ("weights not decayed", "weight_decay=config.weight_decay or None", "weight_decay=None"),
        ("generator not restored", 'self._generator.bit_generator.state = state["generator"]', "pass"),
    ),
    *_faults(
        "networks.py",
        "tests/test_networks.py",
        ("dueling without the mean", " - ops.mean(q_values, axis=1, keepdims=True)", ""),
        (
            "offsets seen mirrored",
            "np.arange(n)[:, None] + np.arange(2 * n - 1)",
            "np.arange(n)[::-1, None] + np.arange(2 * n - 1)",
        ),
        ("a large board's sides mixed up", "[:, None] - np.arange(n)  # [j, i]", " - np.arange(n)[:, None]  # [j, i]"),
    ),
    *_faults(
        "spaces.py",
        "tests/test_masks.py",
        ("an illegal action taken greedily", "best_actions(values, masks[greedy])", "best_actions(values, True)"),
        ("an illegal action taken at random", "random(masks.shape), masks)", "random(masks.shape), True)"),
        ("the reset's mask stored at an episode's end", 'if "final_info" in infos:', "if False:"),
        ("a mask without a legal action bars all", "masks | ~masks.any(axis=1, keepdims=True)", "masks"),
    ),
    *_faults(
        "environments.py",
        "tests/test_environments.py",
        ("steps spent on resetting", "=AutoresetMode.SAME_STEP", "=AutoresetMode.NEXT_STEP"),
        ("lives end Atari's episodes", "terminal_on_life_loss=False", "terminal_on_life_loss=True"),
        ("steps counted in frames", '"max_episode_steps": -1', '"max_episode_steps": None'),
        ("rewards not checked", "and math.isfinite(reward)):", "and True):"),
    ),
    *_faults(
        "symmetry.py",
        "tests/test_symmetry.py",
        ("actions of another view not turned back", "seen[:, view.actions]", "seen"),
    ),
    *_faults(
        "blob_solver.py",
        "tests/test_blob_solver.py",
        (
            "the end is bootstrapped",
            "self._rewards + discount * self._goes_on * values",
            "self._rewards + discount * values",
        ),
        ("the worst action taken", "q_values.max(axis=1)\n            if", "q_values.min(axis=1)\n            if"),
        (
            "never-ending starts cut short",
            "for _ in range(MAX_STEPS):\n        states[going]",
            "for _ in range(20):\n        states[going]",
        ),
        ("a turned start's actions not turned back", ".T)]][:, view.actions] / len(views)", ".T)]] / len(views)"),
    ),
    *_faults(
        "run.py",
        f"{SAME_RUN}[Blob]",
        ("open episodes forgotten", '"_returns", "_lengths", ', ""),
        ("events after the checkpoint left in", "os.truncate(path, sizes[path.name])", "pass"),
        ("the evaluations so far forgotten", 'self.evaluation.set_state(state["evaluation"])', "pass"),
        ("a resumed window begun twice", '"_window_steps", "_window_is_open",', '"_window_steps",'),
        ("updates since the window's begin forgotten", 'for update in state["updates"].tolist()]', "for update in []]"),
    ),
    *_faults(
        "agent.py",
        f"{SAME_RUN}[dropout]",
        ("the optimizer begins anew", ", *self.online.optimizer.variables]", "]"),
        (
            "dropout begins anew",
            "[*self.online.variables, *self.target.variables,",
            "[*self.online.weights, *self.target.weights,",
        ),
    ),
    *_faults(
        "prioritized_replay.py",
        "tests/test_prioritized_replay.py",
        ("priorities not restored", 'self._tree[slots] = state["priorities"]', "self._tree[slots] = 1.0"),
    ),
    *_faults(
        "callback_state.py",
        f"{SAME_RUN}[CartPole]",
        ("a logger's rows after the checkpoint left in", "os.truncate(callback.filename", "print(callback.filename"),
        ("EarlyStopping begins anew", "setattr(callback, name, state[name])", "pass"),
    ),
    *_faults(
        "env_state.py",
        f"{GO_ON}[FrozenLake-v1]",
        ("an environment's generator not restored", 'self.np_random.bit_generator.state = state["before"]', "pass"),
    ),
    *_faults(
        "env_state.py",
        f"{GO_ON}[ALE/Breakout-v5 4]",
        ("a game's random numbers not restored", "include_rng=True", "include_rng=False"),
        ("a game's older frames not restored", 'env.obs_queue.extend(state["frames"])', "pass"),
    ),
    *_faults(
        "env_state.py",
        "tests/test_resume.py::test_a_lane_that_cannot_be_repeated_starts_anew",
        ("another observation not noticed", "if all(np.array_equal(np.asarray(a, b.dtype), b) for", "if all(True for"),
    ),
    *_faults(
        "checkpoint.py",
        "tests/test_safe_checkpoints.py::test_damaged_checkpoints",
        ("a changed file not noticed", 'if _digest(data) == file["sha256"]:', "if True:"),
        ("a changed manifest not noticed", 'if digest.decode(errors="replace") != _digest(text):', "if False:"),
        ("only the newest checkpoint kept", "KEPT = 2", "KEPT = 1"),
        ("one copy of a segment", 'copies=["", _COPY]', 'copies=[""]'),
    ),
    *_faults(
        "checkpoint.py",
        "tests/test_safe_checkpoints.py::test_what_could_not_be_written_leaves_nothing",
        ("a failed write stays", "                self._delete_old()\n", "                pass\n"),
    ),
    *_faults(
        "checkpoint.py",
        "tests/test_safe_checkpoints.py::test_nothing_else_is_deleted",
        ("others' files deleted", "if _OURS.fullmatch(path.name) and path.name", "if path.is_file() and path.name"),
    ),
    *_faults(
        "run_folder.py",
        "tests/test_safe_checkpoints.py::test_links_out_of_a_run",
        ("links followed", "        if path.is_symlink():\n", "        if False:\n"),
    ),
    *_faults(
        "run.py",
        "tests/test_trouble.py::test_a_signal_in_an_evaluation",
        ("early stopping forgotten", '= bool(state["stopped"]) and not extended', "= False"),
        ("half an evaluation kept", "        if not self._broken_off:\n", "        if True:\n"),
    ),
    *_faults(
        "run.py",
        "tests/test_trouble.py::test_an_extended_run_plays_all_its_episodes",
        ("a surplus of episodes kept", "self.agent.episodes = self._played", "pass"),
    ),
    *_faults(
        "run.py",
        "tests/test_trouble.py::test_global_generators_go_on",
        ("NumPy's generator forgotten", 'np.random.set_state(state["global generators"]["numpy"])', "pass"),
    ),
    *_faults(
        "tensorboard_callback.py",
        "tests/test_trouble.py::test_a_disk_that_is_really_full",
        ("a full disk ends the run", "except (tf.errors.OpError, OSError) as error:", "except KeyError as error:"),
    ),
    *_faults(
        "startup.py",
        "tests/test_trouble.py::test_nobody_reads",
        ("a closed pipe ends the run", "    except OSError:\n        os.dup2", "    except KeyError:\n        os.dup2"),
    ),
    *_faults(
        "symmetry.py",
        "tests/test_symmetry.py",
        ("legs not changed", "order=[0, 1, 2, 3, 4, 5, 7, 6]", "order=None"),
        ("an action not mirrored", "[0, 3, 2, 1]", "[0, 1, 2, 3]"),
        ("a sign not mirrored", "[1, -1, 1, -1, -1, -1]", "[1, -1, 1, -1, -1, 1]"),
    ),
    *_faults(
        "model_file.py",
        "tests/test_safe_files.py",
        ("a changed model not noticed", ".encode() != content[-DIGEST_SIZE:]:", ".encode() == b'':"),
        (
            "code that a file names is run",
            "if any(repeated.get(setting) != value",
            "if any(False and repeated.get(setting) != value",
        ),
        ("packed members taken", "    if not plain or sum(", "    if sum("),
    ),
    *_faults(
        "tensorboard_callback.py",
        "tests/test_pictures.py::test_memory_does_not_grow_with_the_windows",
        (
            "numbers that TensorFlow keeps",
            "tf.summary.experimental.write_raw_pb(summary.SerializeToString())",
            "[tf.summary.scalar(name, number) for name, number in numbers.items()]",
        ),
    ),
    *_faults(
        "episode.py",
        "tests/test_play.py::test_an_episode_by_hand",
        ("an illegal action played", "int(best_actions(values, self._mask)[0])", "int(values[0].argmax())"),
        ("actions counted from 0 in play", "self.env.step(action + self._first)", "self.env.step(action)"),
    ),
    *_faults(
        "play.py",
        "tests/test_play.py::test_a_person_plays",
        (
            "others do not wait for the person",
            "self._paused or (self._actions and not",
            "self._paused or (False and not",
        ),
        ("a person's illegal action", "(action is None or not first.is_legal(action))", "action is None"),
    ),
    *_faults(
        "screens.py",
        "tests/test_screens.py::test_half_blocks_by_hand",
        ("halves of a block swapped", "zip(colours[::2], colours[1::2]", "zip(colours[1::2], colours[::2]"),
    ),
    *_faults(
        "drawing.py",
        "tests/test_screens.py::test_a_picture_shows_where_they_stand",
        ("the arrow on another piece", "(blob.positions[0, PLAYER] + 0.5)", "(blob.positions[0, FOOD] + 0.5)"),
    ),
    *_faults(
        "optimum.py",
        "tests/test_play.py::test_the_optimal_player_wins_as_fast_as_can_be",
        ("the best play of another game", "if tuple(others) not in solved:", "if not solved:"),
    ),
    *_faults(
        "report.py",
        "tests/test_report.py::test_the_table_has_every_board_once",
        ("views that an agent has not", "return views if symmetric else views[:1]", "return views"),
        ("boards that look alike twice", "np.unique(np.min(", "np.unique(np.max("),
    ),
    *_faults(
        "agent.py",
        "tests/test_agent.py::test_state_round_trip_continues_identically",
        ("TD errors lost on resuming", 'self.td_errors = tf.constant(state["td_errors"])', "pass"),
    ),
    *_faults(
        "train.py",
        "tests/test_train.py::test_the_stored_next_observation_is_the_final_one",
        ("autoreset row stored", "= final_observations(next_observations, infos)", "= next_observations"),
    ),
    *_faults(
        "config.py",
        "tests/test_agent.py",
        ("epsilon never falls over episodes", "self.epsilon_decay**episodes", "1.0"),
        ("epsilon never falls over steps", "* steps / self.epsilon_steps", "* 0"),
    ),
    *_faults(
        "q_table.py",
        "tests/test_q_table.py::test_against_a_naive_twin",
        ("bootstraps where it terminated", "* ~terminated * self._bootstrap", "* self._bootstrap"),
        ("expected SARSA without epsilon", "return self.epsilon * mean +", "return 0 * mean +"),
        ("traces across what was not greedy", "eligibility[~greedy] = 0", "pass"),
        ("accumulating traces", "eligibility[(self._pairs == pairs[0][:, None]).any(axis=0)] = 0", "pass"),
        ("traces go on after the end", "eligibility[ended] = 0", "pass"),
    ),
    *_faults(
        "q_table.py",
        "tests/test_q_table.py::test_sarsa_by_hand",
        ("SARSA takes another action than it learned from", "self._next_actions >= 0,", "self._next_actions > 99,"),
    ),
    *_faults(
        "q_table.py",
        "tests/test_q_table.py::test_a_mirrored_pair_is_the_same_pair",
        (
            "a mirrored pair keeps its trace",
            "(self._pairs == pairs[0][:, None]).any(axis=0)",
            "self._pairs[0] == pairs[0][:, None]",
        ),
    ),
    *_faults(
        "q_table.py",
        "tests/test_q_table.py::test_q_lambda_is_greedy_among_legal_actions",
        ("illegal actions are greedy", "np.where(self._masks, values, -np.inf).max(axis=1)", "values.max(axis=1)"),
    ),
    *_faults(
        "q_table.py",
        "tests/test_q_table.py::test_a_finished_run_whose_last_model_was_not_written_is_finished",
        ("the latest step forgotten", "self._latest, self.td_errors = tuple(latest), td_errors", "pass"),
    ),
    *_faults(
        "run.py",
        "tests/test_trouble.py::test_folders_that_vanish_stop_nothing",
        ("a deleted folder not claimed again", "self._lock = lock_run(self.log_dir)\n            record", "record"),
    ),
    *_faults(
        "run_folder.py",
        "tests/test_doctor.py::test_windows_with_gaps_are_left_out",
        ("windows with gaps are read", "for step in of if step in whole}", "for step in of}"),
    ),
    *_faults(
        "model_file.py",
        "tests/test_cli.py::test_what_is_repeated_must_be_the_files_own",
        ("another environment than the file's", "not in (None, own):", "in ():"),
    ),
    *_faults(
        "networks.py",
        "tests/test_networks.py::test_several_boards_have_a_branch_each",
        ("branches share names", 'name = f"{branch}.{axis}".lstrip(".")', "name = axis"),
    ),
]
