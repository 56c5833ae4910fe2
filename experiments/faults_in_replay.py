"""Faults in the replay memory, for `python -m experiments.mutate`, and the tests that should notice them."""

from __future__ import annotations

from experiments.faults import faults

REPLAY_FAULTS = [
    *faults(
        "replay/frames.py",
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
            "reset observation returned",
            "for i in np.flatnonzero(self._ended[steps % self._rows, lanes]).tolist():",
            "for i in ():",
        ),
        (
            "a stack runs into the episode before",
            "(before < 0) | self._ended[before % self._rows, lanes]",
            "before < 0",
        ),
        ("a stack's oldest frame overwritten", "maxlen // lanes + stack", "maxlen // lanes + 1"),
        (
            "the mask of the observation, not the next",
            "self._observations), self._masks[rows, lanes]",
            "self._observations), self._masks[steps % self._rows, lanes]",
        ),
    ),
    *faults(
        "replay/frames.py",
        "tests/test_agent.py",
        ("next masks of the step before forgotten", "= self._masks[row] | self._ended[row - 1][:, None]", "= True"),
    ),
    *faults(
        "replay/frames.py",
        "tests/replay/test_frames.py",
        ("a jump not noticed", "jumped & ~self._ended[row - 1]", "jumped & False"),
        ("every end a jump", "jumped & ~self._ended[row - 1]", "jumped"),
    ),
    *faults(
        "replay/rings.py",
        "tests/replay/test_rings.py",
        (
            "free places of a sparse frame at 0",
            "np.minimum(np.arange(room), np.maximum(counts, 1)[:, None] - 1)",
            "[[*range(room)]]",
        ),
        (
            "more room takes other places",
            "np.repeat(array[..., -1:], missing, axis=2)",
            "np.repeat(array[..., :1] * 0, missing, axis=2)",
        ),
        ("frames stored whole lose what was there", "np.flatnonzero(self._values.any(axis=(1, 2)))", "()"),
        ("places beyond a frame restored", "places.max(initial=0) >= self._size", "False"),
    ),
    *faults(
        "replay/samplers.py",
        "tests/replay/test_samplers.py",
        ("priorities not raised to alpha", "+ self.EPSILON) ** self._alpha", "+ self.EPSILON)"),
        (
            "sign of the TD error in the priority",
            "(np.abs(td_errors) + self.EPSILON)",
            "(np.maximum(td_errors, 0) + self.EPSILON)",
        ),
        ("transitions that fell off are still drawn", "self._tree[fallen] = 0", "self._tree[fallen] = 1"),
        ("sum tree forgets what it passed on the left", "sums -= np.where(right, left, 0)", "pass"),
        ("sum tree's inner sums not updated", "while nodes[0] > 1:", "while False:"),
        (
            "importance weights grow with the probability",
            "(probabilities / probabilities.min()) ** -beta",
            "(probabilities / probabilities.min()) ** beta",
        ),
        (
            "priorities not restored",
            'self._tree[self._slots] = state["priorities"]',
            "self._tree[self._slots] = 1.0",
        ),
    ),
]
