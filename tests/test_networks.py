"""Which network fits which observation, and the grid network's arithmetic against a NumPy reference."""

import itertools
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import optree
import pytest
import tensorflow as tf

import networks
from blob_env import BlobRules
from blocks.board import FILTERS, SCALES, SHARPNESS, see_board
from console.errors import InputError
from environments.spaces import example_observation
from networks import build_q_network, suits_xla

PER_ACTION = f"{Path(__file__).parent.parent}/examples/networks.py:per_action"
BOARD = gym.spaces.Box(0, 255, (10, 10, 3), np.uint8)


def test_tutorial_network_has_the_parameters_of_the_tutorial() -> None:
    # 3*3*3*256 + 256 = 7,168; 3*3*256*256 + 256 = 590,080; 1x1x256 are left: 256*64 + 64 = 16,448; 64*9 + 9 = 585.
    model = build_q_network(BOARD, 9, "tutorial", dueling=False)
    assert model.count_params() == 7_168 + 590_080 + 16_448 + 585 == 614_281


@pytest.mark.parametrize(
    ("space", "layer"),
    [
        (BOARD, "rows_attention"),
        (gym.spaces.Box(0, 255, (84, 84, 4), np.uint8), "conv2d"),
        (gym.spaces.Box(-1, 1, (4,), np.float64), "dense"),
        (gym.spaces.Discrete(16), "dense"),
        (gym.spaces.MultiDiscrete([5, 7]), "dense"),
        (gym.spaces.MultiDiscrete(np.array([[5, 7], [2, 2]])), "dense"),  # two stacked frames
        (gym.spaces.Box(0, 255, (84, 84), np.uint8), "conv2d"),
        (gym.spaces.Box(0, 10, (7, 7), np.uint8), "rows_attention"),
        (gym.spaces.MultiBinary([4, 4]), "rows_attention"),
        (gym.spaces.Box(-9, 9, (5, 5), np.float32), "dense"),  # numbers, not an image
        (gym.spaces.MultiBinary(3), "dense"),
    ],
    ids=str,
)
def test_network_is_picked_by_the_space(space: gym.Space, layer: str) -> None:
    keras.utils.clear_session()
    model = build_q_network(space, 5)
    assert any(name.name.startswith(layer) for name in model.layers)
    observations = np.stack([space.sample() for _ in range(3)]).astype(example_observation(space).dtype)
    assert model(observations).shape == (3, 5)


def test_several_boards_have_a_branch_each() -> None:
    board = gym.spaces.Box(0, 255, (8, 8), np.uint8)
    large = gym.spaces.Box(0, 255, (20, 20, 3), np.uint8)
    space = gym.spaces.Dict(near=board, far=gym.spaces.Tuple([board, large, large]))
    model = build_q_network(space, 3)
    assert {"near.rows_scores", "far.0.rows_scores", "far.1.rows_looks", "far.2.rows_looks"} <= {
        layer.name for layer in model.layers
    }
    batch = optree.tree_map(lambda array: array[None], example_observation(space))
    assert model(batch).shape == (1, 3)


def test_numbers_that_stay_small_are_stretched() -> None:
    # The bounds of MountainCar's position, above 1, and velocity, below 1, and an open one.
    space = gym.spaces.Box(np.array([-1.2, -0.07, -np.inf]), np.array([0.6, 0.05, np.inf]), dtype=np.float64)
    model = build_q_network(space, 2)
    stretched = keras.Model(model.input, model.get_layer(index=1).output)
    np.testing.assert_allclose(stretched(np.array([[0.5, 0.035, 3.0]], np.float32)), [[0.5, 0.5, 3.0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("space", "factor"),
    [
        (gym.spaces.Box(0, 255, (8, 8, 1), np.uint8), 1 / 255),
        (gym.spaces.Box(0, 10, (8, 8, 1), np.uint8), 1 / 10),
        (gym.spaces.Box(0, 255, (8, 8, 1), np.float32), 1 / 255),
        (gym.spaces.Box(0, 255, (8, 8, 1), np.int32), 1 / 255),
        (gym.spaces.Box(-128, 127, (8, 8, 1), np.int8), 1 / 128),
        (gym.spaces.Box(0, 65_535, (8, 8, 1), np.uint16), 1 / 65_535),
        (gym.spaces.Box(0, 0.5, (8, 8, 1), np.float32), 2.0),
        (gym.spaces.Box(-np.inf, np.inf, (8, 8, 1), np.float32), 1.0),
        (gym.spaces.Box(-1e10, 1e10, (8, 8, 1), np.float64), 1.0),
        (gym.spaces.Box(0, 1, (8, 8, 1), bool), 1.0),  # type: ignore[arg-type]
        (gym.spaces.Box(0, 0, (8, 8, 1), np.uint8), 1.0),
        (gym.spaces.Box(0, 255, (128,), np.uint8), 1 / 255),  # the memory of an Atari
    ],
    ids=str,
)
def test_pixels_of_every_dtype_are_scaled_by_their_bounds(space: gym.spaces.Box, factor: float) -> None:
    model = build_q_network(space, 2)
    (scaling,) = (layer for layer in model.layers if type(layer) is keras.layers.Rescaling)
    assert scaling.scale == pytest.approx(factor, rel=1e-12)


def test_layers_behind_a_board_are_normalized() -> None:
    """Without it all units of the first one die on an egocentric grid."""
    kinds = [type(layer).__name__ for layer in build_q_network(BOARD, 9, dueling=False).layers]
    assert kinds[-10:] == ["Dense", "LayerNormalization", "Activation"] * 3 + ["Dense"]


@pytest.mark.parametrize(
    ("network", "side", "convolutions", "units"),
    [
        # Four frames of 84x84: sides of (84 - 8) / 4 + 1 = 20, then (20 - 4) / 2 + 1 = 9, then (9 - 3) / 1 + 1 = 7.
        ("auto", 84, [(8 * 8 * 4 + 1) * 32, (4 * 4 * 32 + 1) * 64, (9 * 64 + 1) * 64], [(49 * 64 + 1) * 512, 513 * 6]),
        ("small", 84, [(8 * 8 * 4 + 1) * 16, (4 * 4 * 16 + 1) * 32], [(81 * 32 + 1) * 256, 257 * 6]),
        # Of 42x42: (42 - 4) / 2 + 1 = 20, then 9 as well.
        ("small", 42, [(4 * 4 * 4 + 1) * 16, (4 * 4 * 16 + 1) * 32], [(81 * 32 + 1) * 256, 257 * 6]),
    ],
)
def test_parameters_for_screens(network: str, side: int, convolutions: list[int], units: list[int]) -> None:
    """Those of Mnih et al. 2015 and 2013."""
    space = gym.spaces.Box(0, 255, (4, side, side), np.uint8)
    model = build_q_network(space, 6, network, dueling=False, stack=4)
    assert [layer.count_params() for layer in model.layers if layer.weights] == convolutions + units


@pytest.mark.parametrize("dueling", [False, True])
def test_values_start_near_zero(dueling: bool) -> None:
    """Of random values targets would take the greatest."""
    boards = np.random.default_rng(0).integers(256, size=(100, 10, 10, 3)).astype(np.uint8)
    values = build_q_network(BOARD, 9, dueling=dueling)(boards).numpy()
    assert 0 < np.abs(values).max() < 0.1


def test_refusals() -> None:
    with pytest.raises(InputError, match="--network tutorial needs images, "):
        build_q_network(gym.spaces.Discrete(4), 2, "tutorial")
    with pytest.raises(InputError, match="--network tutorial needs images of at least 10x10"):
        build_q_network(gym.spaces.Box(0, 255, (9, 10, 3), np.uint8), 2, "tutorial")
    with pytest.raises(InputError, match="may have 3 dimensions at most"):
        build_q_network(gym.spaces.Box(0, 255, (2, 9, 9, 3), np.uint8), 2)
    with pytest.raises(InputError, match=r"too small: .*, 36x36 at least"):
        build_q_network(gym.spaces.Box(0, 255, (35, 90, 3), np.uint8), 2)
    with pytest.raises(InputError, match=r"too small: .*, 20x20 at least"):
        build_q_network(gym.spaces.Box(0, 255, (19, 90, 3), np.uint8), 2, "small")
    with pytest.raises(InputError, match=r"too small: .*, 10x10 at least"):
        build_q_network(gym.spaces.Box(0, 255, (9, 20, 3), np.uint8), 2, "small")
    with pytest.raises(InputError, match="--network small needs images, "):
        build_q_network(gym.spaces.Discrete(4), 2, "small")


@pytest.mark.parametrize(("shape", "layer"), [((4, 84, 84), "conv2d"), ((2, 10, 10, 3), "rows_attention")])
def test_stacked_frames_are_channels(shape: tuple[int, ...], layer: str) -> None:
    model = build_q_network(gym.spaces.Box(0, 255, shape, np.uint8), 3, stack=shape[0])
    assert any(found.name.startswith(layer) for found in model.layers)
    images = np.random.default_rng(0).integers(256, size=(2, *shape)).astype(np.uint8)
    assert model(images).shape == (2, 3)
    (pixels,) = [found.output for found in model.layers if isinstance(found, keras.layers.Reshape)][:1]
    channels = keras.Model(model.input, pixels)(images).numpy()
    # Frame by frame, and colour by colour in each frame.
    colours = shape[3] if len(shape) == 4 else 1
    frames = images.reshape(2, shape[0], *shape[1:3], colours)
    for frame in range(shape[0]):
        for colour in range(colours):
            seen = channels[..., frame * colours + colour]
            np.testing.assert_allclose(seen, frames[:, frame, :, :, colour] / 255, rtol=1e-6)


def test_every_part_of_a_dict_is_seen() -> None:
    space = gym.spaces.Dict(
        board=gym.spaces.Box(0, 255, (5, 5, 3), np.uint8),
        rest=gym.spaces.Tuple([gym.spaces.Discrete(4), gym.spaces.Box(-1, 1, (2,), np.float32)]),
    )
    model = build_q_network(space, 3)
    before: dict[str, Any] = {
        "board": np.zeros((1, 5, 5, 3), np.uint8),
        "rest": (np.zeros(1, np.int32), np.zeros((1, 2), np.float32)),
    }
    values = model(before).numpy()
    assert values.shape == (1, 3)
    changed = [
        {**before, "board": before["board"] + np.uint8(200)},
        {**before, "rest": (before["rest"][0] + 1, before["rest"][1])},
        {**before, "rest": (before["rest"][0], before["rest"][1] + 0.5)},
    ]
    for observation in changed:
        assert np.abs(model(observation).numpy() - values).max() > 1e-4


def test_names_that_keras_would_not_take() -> None:
    part = gym.spaces.Box(0, 0, (3,), np.uint8)  # nothing must be divided by its largest value, 0, either
    space = gym.spaces.Dict({"a/b": part, "x": gym.spaces.Dict(y=part), "x_y": part})
    ones = np.ones((1, 3), np.uint8)
    with pytest.warns(UserWarning, match="all keys in the dict must match"):
        assert build_q_network(space, 2)({"a/b": ones, "x": {"y": ones}, "x_y": ones}).shape == (1, 2)


OWN_NETWORK = """
import keras

class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x

def good(observation_space, n_actions):
    inputs = keras.Input(observation_space.shape)
    return keras.Model(inputs, Twice()(keras.layers.Dense(n_actions)(inputs)))

def wrong_output(observation_space, n_actions):
    return good(observation_space, n_actions + 1)

def wrong_input(observation_space, n_actions):
    inputs = keras.Input((7,))
    return keras.Model(inputs, keras.layers.Dense(n_actions)(inputs))

def no_model(observation_space, n_actions):
    return 3

def broken(observation_space, n_actions):
    return 1 / 0

class Unsaved(keras.Model):
    def __init__(self, n_actions):
        super().__init__()
        self.out = keras.layers.Dense(n_actions)

    def call(self, x):
        return self.out(x)

    def get_config(self):
        raise NotImplementedError("not written yet")

def unsaved(observation_space, n_actions):
    return Unsaved(n_actions)

def exits(observation_space, n_actions):
    raise SystemExit(3)
"""


def test_a_users_own_network(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_NETWORK)
    space = gym.spaces.Box(-1, 1, (4,), np.float32)
    model = build_q_network(space, 3, f"{tmp_path}/own.py:good")
    weights, biases = np.arange(12).reshape(4, 3), np.array([1, 2, 3])
    model.set_weights([weights, biases])
    # Twice the last row of the weights and the biases: 2 * (9, 10, 11) + 2 * (1, 2, 3).
    np.testing.assert_allclose(model(np.array([[0, 0, 0, 1]], np.float32)), [[20, 24, 28]])
    assert not suits_xla(model)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("own.py:wrong_output", r"must map to float32 \(batch, 3\), .* float32 \(1, 4\)"),
        ("own.py:wrong_input", r"does not take observations of float32 \(None, 4\)"),
        ("own.py:no_model", "must return a keras.Model, got int"),
        ("own.py:broken", "ZeroDivisionError"),
        (
            "own.py:missing",
            r"own\.py has no function missing; it has good, wrong_output, wrong_input, no_model",
        ),
        ("own.py:god", r"own\.py has no function god; did you mean good\?"),
        ("own.py:unsaved", r"makes a Unsaved that Keras cannot save: build it from layers .*not written yet"),
        ("own.py:exits", "SystemExit: 3"),
        ("nothing.py:good", "there is no file"),
    ],
)
def test_a_users_own_network_that_does_not_suit(network: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_NETWORK)
    with pytest.raises(InputError, match=message):
        build_q_network(gym.spaces.Box(-1, 1, (4,), np.float32), 3, f"{tmp_path}/{network}")


def test_one_hot_by_hand() -> None:
    # Numbers from -1 to 1 and from 0 to 1: (0, 1) is the second of three and the second of two. The first layer is an
    # identity, so its units show its inputs.
    model = build_q_network(gym.spaces.MultiDiscrete([3, 2], start=[-1, 0]), 2)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    first.set_weights([np.eye(5, 256), np.zeros(256)])
    units = keras.Model(model.input, first.output)(np.array([[0, 1], [-1, 0]], np.int32)).numpy()
    np.testing.assert_array_equal(units[:, :5], [[0, 1, 0, 0, 1], [1, 0, 0, 1, 0]])


@pytest.mark.parametrize(("height", "width"), [(3, 4), (20, 35)])
def test_grid_features_equal_a_numpy_reference(height: int, width: int) -> None:
    channels = 2
    inputs = keras.Input((height, width, channels))
    model = keras.Model(inputs, see_board(inputs))
    generator = np.random.default_rng(0)
    weights = {name: generator.normal(size=(channels + 1, channels)) for name in ("rows", "columns")}
    for name, kernel in weights.items():
        model.get_layer(f"{name}_scores").set_weights([kernel[:-1], kernel[-1]])
    boards = generator.random((5, height, width, channels)).astype(np.float32)
    weights["pieces"] = generator.normal(size=(9 * channels + 1, FILTERS))
    (convolution,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    convolution.set_weights([weights["pieces"][:-1].reshape(3, 3, channels, FILTERS), weights["pieces"][-1]])
    for board, features in zip(boards, model(boards).numpy(), strict=True):
        np.testing.assert_allclose(features, reference(board, weights), rtol=1e-4, atol=1e-6)


def reference(board: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Compute the features of one board, line by line."""
    channels = board.shape[2]
    is_large = max(board.shape) == 35  # more than 2 * FINE: pooled in squares of 3x3, the last ones cut off by the edge
    pooled = board
    if is_large:
        pooled = np.array(
            [[board[x : x + 3, y : y + 3].mean(axis=(0, 1)) for y in range(0, 36, 3)] for x in range(0, 21, 3)]
        )
    features, attentions = [pieces(pooled, weights["pieces"]).ravel()], []
    for name, lines in (("rows", board.sum(axis=1)), ("columns", board.sum(axis=0))):
        n, kernel = len(lines), weights[name]
        exponentials = np.exp(SHARPNESS * (lines @ kernel[:-1] + kernel[-1]))
        attention = exponentials / exponentials.sum(axis=0)  # (n, heads)
        scales = [scale for scale in SCALES if scale < n]
        seen = np.zeros((channels, 2 * len(scales) if is_large else 2 * n - 1, channels))  # [head, look, channel]
        for head, here, there in itertools.product(range(channels), range(n), range(n)):
            weighted, offset = attention[here, head] * lines[there], there - here
            if not is_large:
                seen[head, offset + n - 1] += weighted
                continue
            for i, scale in enumerate(scales):
                share = min(1, abs(offset) / scale)
                seen[head, i] += share * np.sign(offset) * weighted
                seen[head, i + len(scales)] += (1 - share) * weighted
        features += [lines.ravel(), attention.T.ravel(), seen.ravel()]
        attentions.append(attention.T)
    return np.concatenate([*features, *(around(board, *attentions) if is_large else [])])


def around(board: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> list[np.ndarray]:
    """See the 5x5 cells around each cell, weighted by a head's attention to it: per head the columns, in each the
    rows, in each the channels."""
    height, width, channels = board.shape
    padded = np.pad(board, ((2, 2), (2, 2), (0, 0)))
    seen = np.zeros((len(rows), 5, 5, channels))
    for head, x, y in itertools.product(range(len(rows)), range(height), range(width)):
        seen[head] += rows[head, x] * columns[head, y] * padded[x : x + 5, y : y + 5].transpose(1, 0, 2)
    return [seen.ravel()]


def pieces(board: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Convolve one board, in pieces of 3x3 cells and steps of 2, with zeros beyond the edges: (h/2, w/2, filters).

    The first piece begins one cell before the edge where the side is odd, and at the edge where it is even, so that
    the last one ends at most one cell behind it.
    """
    before = [side % 2 for side in board.shape[:2]]
    padded = np.pad(board, (*((n, 2) for n in before), (0, 0)))
    rows, columns = (range(0, side, 2) for side in board.shape[:2])
    cut = [[padded[x : x + 3, y : y + 3].ravel() for y in columns] for x in rows]
    return np.maximum(np.array(cut) @ weights[:-1] + weights[-1], 0)


def test_untrained_heads_sit_on_the_pieces() -> None:
    """The heads for red, green and blue start on player, food and enemy, the brightest pieces in these colours."""
    board = np.array([[[2, 3], [5, 1], [7, 8]]])  # player, food, enemy
    image = BlobRules().observe(board)
    model = build_q_network(BOARD, 9)
    for axis, name in enumerate(("rows", "columns")):
        heads = keras.Model(model.input, model.get_layer(f"{name}_attention").output)(image).numpy()[0]
        assert heads.argmax(axis=1).tolist() == board[0, :, axis].tolist()
        assert (heads.max(axis=1) > 0.9).all()


def test_a_network_per_action_shares_no_weights() -> None:
    """The first action's value depends on a third of the weights, and the other values do not depend on them."""
    model = build_q_network(gym.spaces.Box(-1, 1, (4,), np.float32), 3, PER_ACTION)
    alone = build_q_network(gym.spaces.Box(-1, 1, (4,), np.float32), 1)
    assert model.count_params() == 3 * alone.count_params()
    with tf.GradientTape(persistent=True) as tape:
        q_values = model(np.ones((1, 4), np.float32))
        first, second = q_values[0, 0], q_values[0, 1]
    moved = [
        [bool(tf.reduce_any(gradient != 0)) if gradient is not None else False for gradient in gradients]
        for gradients in (tape.gradient(value, model.trainable_variables) for value in (first, second))
    ]
    assert any(moved[0]) and any(moved[1]) and not any(a and b for a, b in zip(*moved, strict=True))


def test_dueling_head_by_hand() -> None:
    # Wang et al. 2016, eq. 9: Q = V + A - mean(A). With a value of 3 and advantages 1, 2 and 6, whose mean is 3, it is
    # 1, 2 and 6 for every observation.
    model = build_q_network(gym.spaces.Box(-1, 1, (4,), np.float32), 3, dueling=True)
    for name, biases in (("value", [3.0]), ("advantages", [1.0, 2.0, 6.0])):
        layer = model.get_layer(name)
        layer.set_weights([np.zeros(layer.kernel.shape), np.array(biases)])
    np.testing.assert_allclose(model(np.ones((1, 4), np.float32)), [[1, 2, 6]])
    model.get_layer("value").set_weights([np.zeros((256, 1)), np.array([10.0])])
    np.testing.assert_allclose(model(np.ones((1, 4), np.float32)), [[8, 9, 13]])


@pytest.mark.parametrize("side", [2, 5, 16, 17, 64])
@pytest.mark.parametrize("channels", [1, 20])
def test_boards_of_all_sizes(side: int, channels: int) -> None:
    """Every cell matters: a change of any one in the middle or at a corner changes the Q-values."""
    model = build_q_network(gym.spaces.Box(0, 1, (side, side, channels), np.uint8), 4)
    before = np.zeros((1, side, side, channels), np.uint8)
    for cell in ((0, 0), (side - 1, side - 1), (side // 2, 0)):
        board = before.copy()
        board[0, *cell, channels - 1] = 1
        assert np.abs(model(board) - model(before)).max() > 1e-4


def test_xla_compiles_no_large_convolutions_or_boards_or_random_numbers() -> None:
    assert suits_xla(build_q_network(BOARD, 9))
    assert suits_xla(build_q_network(BOARD, 9, PER_ACTION))
    assert suits_xla(build_q_network(BOARD, 9, loss="c51"))
    assert not suits_xla(build_q_network(BOARD, 9, noisy=True)) and not suits_xla(build_q_network(BOARD, 9, loss="iqn"))
    assert not suits_xla(build_q_network(BOARD, 9, "tutorial"))
    assert not suits_xla(build_q_network(gym.spaces.Box(0, 255, (20, 20, 3), np.uint8), 2, PER_ACTION))
    assert not suits_xla(build_q_network(gym.spaces.Box(0, 255, (20, 20, 3), np.uint8), 9))


def test_no_xla_for_a_gpu_without_libdevice(monkeypatch: pytest.MonkeyPatch) -> None:
    def exp(_: tf.Tensor) -> tf.Tensor:
        raise tf.errors.InternalError(None, None, "libdevice not found at ./libdevice.10.bc")

    model = build_q_network(BOARD, 9)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    networks._xla_compiles.cache_clear()
    assert suits_xla(model)
    networks._xla_compiles.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(tf, "exp", exp)
        assert not suits_xla(model)
    networks._xla_compiles.cache_clear()


@pytest.mark.parametrize(
    ("ablated", "inputs"),
    [
        # On 10x10 cells of 3 colours: 5 * 5 * 8 = 200 pieces; for rows, and for columns, 10 * 3 sums, 3 * 10 attention
        # and 3 heads' looks at 19 * 3 numbers, 231 in all.
        ("without_convolution", 2 * 231),
        ("pixels_for_convolution", 300 + 2 * 231),
        ("without_attention", 200),
        ("without_normalization", 200 + 2 * 231),
        ("with_two_layers", 200 + 2 * 231),
    ],
)
def test_ablated_networks(ablated: str, inputs: int) -> None:
    own = f"{Path(__file__).parent.parent}/experiments/ablated_networks.py:{ablated}"
    model = build_q_network(BOARD, 9, own)
    dense = next(layer for layer in model.layers if layer.name.startswith("dense") and layer.units == 256)
    assert dense.kernel.shape == (inputs, 256)
    n_layers, n_normalized = [
        sum(isinstance(layer, kind) for layer in model.layers)
        for kind in (keras.layers.Activation, keras.layers.LayerNormalization)
    ]
    assert n_layers == (2 if ablated == "with_two_layers" else 3)
    assert n_normalized == (0 if ablated == "without_normalization" else n_layers)
    assert suits_xla(model)
