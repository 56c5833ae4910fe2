"""Faults in the modules at the root, for `python -m experiments.mutate`, and the tests that should notice them."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A fault to put into a file, and the tests that should notice it.

    Attributes:
        name: names the fault.
        file: in which it is.
        old, new: the text to replace, which occurs once in the file, and the text with the fault.
        tests: a file of tests, or one test of a slow file, as pytest names it (file::test).
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


def faults(file: str, tests: str, *texts: tuple[str, str, str]) -> list[Fault]:
    """List faults, (name, old, new) each, in one file that the same tests should notice."""
    return [Fault(name, file, old, new, tests) for name, old, new in texts]


SAME_RUN = "tests/training/test_resume.py::test_interrupted_and_resumed_is_the_same"
ROOT_FAULTS = [
    *faults(
        "losses.py",
        "tests/test_losses.py",
        ("sign of the TD target", "self._returns(target, batch) + batch", "self._returns(target, batch) - batch"),
        (
            "wrong action gathered",
            "_of_actions(outputs, actions)\n        return self",
            "outputs[:, 0]\n        return self",
        ),
        (
            "target network not used",
            "outputs = target(batch.next_observations)",
            "outputs = online(batch.next_observations)",
        ),
        (
            "double DQN picks with the target network",
            "self.q_values(online(batch.next_observations)) if self._double else q_values",
            "q_values",
        ),
        (
            "an illegal action bootstrapped",
            "tf.where(batch.next_masks, choosing, choosing.dtype.min)",
            "choosing",
        ),
        ("Huber loss squares every error", "keras.losses.Huber(config.huber_delta", "keras.losses.Huber(1e9"),
    ),
    *faults(
        "agent.py",
        "tests/test_agent_update.py",
        (
            "gradient flows through the target",
            "        targets = loss_of.targets(choosing, valuing, batch)  "
            "# reward + discount * max_a Q_target(next, a)\n"
            "        with tf.GradientTape() as tape:\n",
            "        with tf.GradientTape() as tape:\n"
            "            targets = loss_of.targets(choosing, choosing, batch)\n",
        ),
        (
            "masks not seen from the batch's view",
            "batch.next_masks[:, np.argsort(symmetry.actions)]",
            "batch.next_masks",
        ),
        ("importance weights not applied", "tf.reduce_mean(batch.weights * losses)", "tf.reduce_mean(losses)"),
        ("priorities never set", "self.memory.set_priorities(drawn.slots, td_errors)", "pass"),
        ("first priorities bootstrap at the end", "~np.asarray(step.terminated, bool)", "True"),
        (
            "first priorities by an illegal action",
            "legal_values(self._target_values(step.successors), masks)",
            "self._target_values(step.successors)",
        ),
        ("first priorities by old values", "self._values = None\n", "pass\n"),
        ("weights not decayed", "weight_decay=config.weight_decay or None", "weight_decay=None"),
        (
            "illegal actions counted in q_mean",
            "tf.where(batch.masks, q_values, q_values.dtype.min)",
            "q_values",
        ),
    ),
    *faults(
        "agent.py",
        "tests/test_agent.py",
        ("target not equal to online at the start", "**settings)\n        self.copy_to_target()\n", "**settings)\n"),
        (
            "target never copied, counting episodes",
            'self._copy_to_target_every("episodes", episodes, self.episodes)',
            "pass",
        ),
        (
            "target never copied, counting updates",
            'self._copy_to_target_every("updates", self.updates - 1, self.updates)',
            "pass",
        ),
        ("one update however many are due", "self.update(min(AT_ONCE, due - done))", "self.update(1)"),
        ("rewards not clipped", "step._replace(rewards=self.config.clip_rewards(step.rewards))", "step"),
        ("masks acted on not stored", "self._masks = np.array(masks) if masks", "self._masks = None if masks"),
        ("generator not restored", 'self._generator.bit_generator.state = state["generator"]', "pass"),
    ),
    *faults(
        "agent.py",
        "tests/test_agent.py::test_state_round_trip_continues_identically",
        ("TD errors lost on resuming", 'self.td_errors = tf.constant(state["td_errors"])', "pass"),
    ),
    *faults(
        "agent.py",
        "tests/training/test_train.py::test_the_stored_next_observation_is_the_final_one",
        (
            "the reset's observation stored",
            "clipped = step._replace(",
            "clipped = step._replace(successors=step.next_observations, ",
        ),
    ),
    *faults(
        "agent.py",
        f"{SAME_RUN}[dropout]",
        ("the optimizer starts from scratch", ", *self.online.optimizer.variables]", "]"),
        (
            "dropout starts from scratch",
            "[*self.online.variables, *self.target.variables,",
            "[*self.online.weights, *self.target.weights,",
        ),
    ),
    *faults(
        "blocks/heads.py",
        "tests/test_networks.py",
        ("dueling without the mean", " - ops.mean(advantages, axis=-1, keepdims=True)", ""),
    ),
    *faults(
        "blocks/heads.py",
        "tests/test_distributional_losses.py",
        ("fractions from the whole range", "+ np.arange(SAMPLES, dtype=np.float32)) / SAMPLES", ")"),
        ("the highest atom left out", "np.linspace(-v_max, v_max, ATOMS,", "np.linspace(-v_max, 0.98 * v_max, ATOMS,"),
    ),
    *faults(
        "blocks/dense.py",
        "tests/test_noisy.py",
        ("noise that is not factorised", "sigma(_noise(features) * features)", "sigma(features)"),
        ("noise of the wrong spread", "ops.sqrt(ops.abs(normal))", "ops.abs(normal)"),
    ),
    *faults(
        "losses.py",
        "tests/test_distributional_losses.py",
        ("returns beyond the atoms lost", "shifted = tf.clip_by_value(shifted, -last, last)", "pass"),
        ("quantiles drawn to the wrong side", "tf.cast(errors < 0, tf.float32)", "tf.cast(errors > 0, tf.float32)"),
        (
            "a divergence without the target's entropy",
            "losses + tf.reduce_sum(tf.math.xlogy(targets, targets), axis=1)",
            "losses",
        ),
        ("a Munchausen bonus without a limit", "tf.clip_by_value(taken, LOWEST_BONUS, 0.0)", "taken"),
        (
            "illegal actions in the Munchausen policy",
            "legal = tf.where(masks, q_values, q_values.dtype.min)",
            "legal = q_values",
        ),
    ),
    *faults(
        "blocks/board.py",
        "tests/test_networks.py",
        (
            "offsets seen mirrored",
            "np.arange(n)[:, None] + np.arange(2 * n - 1)",
            "np.arange(n)[::-1, None] + np.arange(2 * n - 1)",
        ),
        ("pieces without their ReLU", 'padding="same", activation="relu",', 'padding="same",'),
        ("a large board's sides mixed up", "[:, None] - np.arange(n)  # [j, i]", " - np.arange(n)[:, None]  # [j, i]"),
    ),
    *faults(
        "blocks/board.py",
        "tests/test_networks.py::test_several_boards_have_a_branch_each",
        (
            "branches share names",
            "name = f\"{branch}.{('rows', 'columns')[axis - 1]}",
            "name = f\"{('rows', 'columns')[axis - 1]}",
        ),
    ),
    *faults(
        "networks.py",
        "tests/environments/test_symmetry.py::test_the_compiled_mean_is_the_one_in_numpy",
        ("an action not turned back in the compiled mean", "tf.gather(of_view, one.actions, axis=1)", "of_view"),
        (
            "a sign left out of the compiled mean",
            "return numbers * tf.constant(symmetry.signs, numbers.dtype) if",
            "return numbers if",
        ),
    ),
    *faults(
        "config.py",
        "tests/test_agent.py",
        ("epsilon never falls over episodes", "self.epsilon_decay**episodes", "1.0"),
        ("epsilon never falls over steps", "* steps / self.epsilon_steps", "* 0"),
    ),
    *faults(
        "q_table.py",
        "tests/test_q_table.py::test_against_a_naive_twin",
        ("bootstraps where it terminated", "* ~step.terminated * self._next_values", "* self._next_values"),
        ("expected SARSA without epsilon", "return self.epsilon * mean +", "return 0 * mean +"),
        ("a non-greedy action cuts no traces", "eligibility[~greedy] = 0", "pass"),
        ("accumulating traces", "eligibility[(self._pairs == pairs[0][:, None]).any(axis=0)] = 0", "pass"),
        ("traces go on after the end", "eligibility[ended] = 0", "pass"),
    ),
    *faults(
        "q_table.py",
        "tests/test_q_table.py::test_sarsa_by_hand",
        ("SARSA takes another action than it learned from", "self._next_actions >= 0,", "self._next_actions > 99,"),
    ),
    *faults(
        "q_table.py",
        "tests/test_q_table.py::test_a_mirrored_pair_is_the_same_pair",
        (
            "a mirrored pair keeps its trace",
            "(self._pairs == pairs[0][:, None]).any(axis=0)",
            "self._pairs[0] == pairs[0][:, None]",
        ),
    ),
    *faults(
        "q_table.py",
        "tests/test_q_table.py::test_q_lambda_is_greedy_among_legal_actions",
        ("illegal actions are greedy", "legal_values(values, self._masks).max(axis=1)", "values.max(axis=1)"),
    ),
    *faults(
        "q_table.py",
        "tests/test_q_table_runs.py::test_a_finished_run_whose_last_model_was_not_written_is_finished",
        (
            "the latest step forgotten",
            'self._latest, self.td_errors = (observations, actions), state["td_errors"]',
            "pass",
        ),
    ),
    *faults(
        "q_table.py",
        "tests/test_q_table.py",
        (
            "rewards not clipped by a table",
            "terminated = self.config.clip_rewards(step.rewards),",
            "terminated = np.asarray(step.rewards),",
        ),
    ),
    *faults(
        "blob_env.py",
        "tests/viewer/test_screens.py::test_a_picture_shows_the_episodes",
        ("the arrow on another piece", "(self._positions[0, PLAYER] + 0.5)", "(self._positions[0, FOOD] + 0.5)"),
    ),
]
