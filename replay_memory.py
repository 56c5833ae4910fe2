"""Replay memory: a bounded deque of transitions that an agent learns from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from environments.lanes import Step
from environments.spaces import Observations
from replay.frames import Batch, Frames
from replay.samplers import Prioritized, Uniform, importance_weights


class ReplayMemory:
    """A `collections.deque(maxlen=...)` of transitions, fed by all lanes at once.

    Appending a vector step adds one transition a lane on the right; once full, the oldest vector step falls off the
    left. `Frames` stores the transitions, a sampler draws them.

    Args:
        maxlen: transitions to hold, rounded down to whole vector steps.
        lanes: transitions in a vector step.
        example: one observation, with the structure, shapes and dtypes of all; images are best uint8.
        n_actions: number of actions.
        stack: frames stacked along the first axis of every array of an observation, the newest last; 1 for none.
        priority_alpha: None draws uniformly, else see `replay.samplers.Prioritized`.

    Attributes:
        frames, sampler: the two parts.

    Raises:
        ValueError: `maxlen` is smaller than `lanes`.
    """

    def __init__(
        self,
        maxlen: int,
        lanes: int,
        example: Observations,
        n_actions: int,
        stack: int = 1,
        priority_alpha: float | None = None,
    ) -> None:
        self.frames = Frames(maxlen, lanes, example, n_actions, stack)
        self.sampler = Uniform() if priority_alpha is None else Prioritized(self.frames.n_slots, priority_alpha)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def maxlen(self) -> int:
        """Transitions that it holds when full."""
        return self.frames.maxlen

    @property
    def lanes(self) -> int:
        """Transitions in a vector step."""
        return self.frames.lanes

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        return self.frames.nbytes + self.sampler.nbytes

    @property
    def newest(self) -> np.ndarray:
        """Slots of the newest step's transitions, int64 (lanes,)."""
        return self.frames.slots(np.arange(len(self) - self.lanes, len(self)))

    def append(
        self, observations: Observations, actions: npt.ArrayLike, step: Step, masks: npt.ArrayLike | None = None
    ) -> int:
        """Add one step of every lane.

        Args:
            observations: (lanes, ...), acted on. Where these are not the successors of the step before, its episode
                counts as truncated.
            actions: int (lanes,), counted from 0.
            step: what they led to.
            masks: bool (lanes, n_actions), the legal actions in `observations`. Without it they are the last step's
                successor masks, and where an episode starts all are legal.

        Returns:
            The number of lanes whose last episode was so truncated, without being marked.
        """
        jumps = self.frames.truncate_jumps(observations)
        self.sampler.append(*self.frames.append(observations, actions, step, masks))
        return jumps

    def sample(
        self, batch_size: int, n_step: int, discount: float, generator: np.random.Generator, beta: float = 1.0
    ) -> Batch:
        """Draw transitions with replacement, as n-step transitions (see `Frames.n_step`).

        Args:
            batch_size: how many.
            n_step: rewards summed, at most.
            discount: in [0, 1].
            generator: source of the random draws.
            beta: share of the bias of prioritized draws that the weights undo.

        Raises:
            ValueError: the memory is empty.
        """
        if not len(self):
            raise ValueError("cannot sample from an empty replay memory")
        slots, probabilities = self.sampler.draw(self.frames, batch_size, generator)
        batch = self.frames.n_step(slots, n_step, discount)
        return batch._replace(weights=importance_weights(probabilities, beta))

    def sample_uniformly(self, count: int, generator: np.random.Generator) -> tuple[Observations, np.ndarray]:
        """Draw observations (count, ...) and the actions taken there, int32 (count,); uniformly even if prioritized."""
        slots, _ = Uniform().draw(self.frames, count, generator)
        drawn = self.frames.n_step(slots, 1, 1.0)
        return drawn.observations, drawn.actions

    def set_priorities(self, slots: np.ndarray, td_errors: np.ndarray) -> None:
        """Give the sampler the TD errors, float (B,), of a batch's transitions, by its slots, int (B,)."""
        self.sampler.set_priorities(slots, td_errors)

    def truncate_lane(self, lane: int) -> None:
        """Count the newest step of a lane as truncated: the next one appended does not follow from it."""
        self.frames.truncate_lane(lane)

    @property
    def steps(self) -> int:
        """Vector steps appended so far."""
        return self.frames.steps

    @property
    def oldest(self) -> int:
        """The first vector step that `get_steps` can save."""
        return self.frames.oldest

    def get_steps(self, first: int = 0, end: int | None = None) -> dict[str, np.ndarray]:
        """Save the vector steps from `first` on and before `end`, by default all to the newest, as a segment for
        `set_state`."""
        return self.frames.get_steps(first, end)

    def get_state(self) -> dict[str, Any]:
        """Save what `set_state` needs beside the segments."""
        return {**self.frames.get_state(), **self.sampler.get_state()}

    def set_state(self, state: dict[str, Any], segments: Iterable[dict[str, np.ndarray]]) -> None:
        """Restore what `get_state` and, oldest first, `get_steps` saved.

        Raises:
            ValueError: they are of a memory of another size.
        """
        self.frames.set_state(state, segments)
        self.sampler.set_state(state)
