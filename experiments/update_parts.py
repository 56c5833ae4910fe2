"""Compares the time of an update with that of its matrix products and convolutions alone, and with that of updates of
networks without one of their parts: python -m experiments.update_parts"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Discrete

from blob_env import MOVES, BlobRules
from config import Config
from console.arguments import at_least, make_parser
from console.errors import exit_on_bad_input
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from experiments.ablation import NETWORKS
from experiments.benchmark import forward_flops, machine, matmul_gflops
from presets import PRESETS

if TYPE_CHECKING:
    from agent import DQNAgent

PRODUCTS = ("MatMul", "BatchMatMulV2", "Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
MOST = 1.25  # an update should take at most this many times as long as its products
ROUNDS = 10
ABLATIONS = ("without_convolution", "without_attention", "without_normalization", "with_two_layers")


def products_of(graph: Any) -> list[Any]:
    """List the matrix products and convolutions of a graph that its outputs or its assignments need."""
    waiting = [output.op for output in graph.outputs] + [
        op for op in graph.get_operations() if op.type.startswith("Assign") and op.type.endswith("VariableOp")
    ]
    needed = set()
    while waiting:
        op = waiting.pop()
        if op not in needed:
            needed.add(op)
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return [op for op in graph.get_operations() if op in needed and op.type in PRODUCTS]


def alone(ops: list[Any]) -> Callable[[], Any]:
    """Return a function that does only these operations, on random numbers of the same shapes."""
    import tensorflow as tf

    calls = []
    for op in ops:
        inputs: dict[str, Any] = {}
        for argument, tensor in zip(op.op_def.input_arg, op.inputs, strict=True):
            if tensor.dtype.is_integer:  # the shape that a convolution's gradient will have
                inputs[argument.name] = tf.constant(op.outputs[0].shape.as_list())
            else:
                inputs[argument.name] = tf.random.normal(tensor.shape)
        settings = {attr.name: op.get_attr(attr.name) for attr in op.op_def.attr if attr.type != "type"}
        calls.append((getattr(tf.raw_ops, op.type), inputs, settings))
    return lambda: [function(**inputs, **settings) for function, inputs, settings in calls]


def batch_of(observations: Any, n_actions: int, numbers: Any) -> Any:
    """Make a batch of observations (B, ...); `numbers`, float32 (B,), are its returns, discounts and weights."""
    import tensorflow as tf

    from replay_memory import Batch

    n = len(numbers)
    masks: Any = tf.ones((n, n_actions), tf.bool)
    return Batch(
        observations=observations,
        masks=masks,
        actions=tf.zeros(n, tf.int32),
        returns=numbers,
        discounts=numbers,
        next_observations=observations,
        next_masks=masks,
        weights=numbers,
        slots=tf.zeros(n, tf.int64),
    )


def update_graph(agent: DQNAgent, batch: Any) -> Any:
    """Trace the graph of an update with this batch."""
    import tensorflow as tf

    return tf.function(agent._gradient_step).get_concrete_function(batch).graph


def median_ms(function: Callable[[], Any], repeats: int) -> float:
    """Measure the median milliseconds of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        for tensor in function():
            tensor.numpy()
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e3


def agent_and_batch(config: Config) -> tuple[DQNAgent, Any]:
    """Make an untrained agent for Blob, and a batch of boards to learn from."""
    import tensorflow as tf

    from agent import DQNAgent

    rules = BlobRules()
    agent = DQNAgent(rules.observation_space(), Discrete(len(MOVES)), config)
    n, generator = config.batch_size, np.random.default_rng(0)
    boards = tf.constant(rules.observe(rules.start_positions(generator.integers(rules.n_starts, size=n))))
    return agent, batch_of(boards, len(MOVES), tf.constant(generator.random(n), tf.float32))


def in_turns(functions: Sequence[Callable[[], Any]], repeats: int) -> list[float]:
    """Measure the median milliseconds of a call of each function, in alternating rounds."""
    for function in functions:
        median_ms(function, 10)  # compile it and warm up
    rounds = [[median_ms(function, repeats) for function in functions] for _ in range(ROUNDS)]
    return np.median(rounds, axis=0).tolist()


def compare(preset: str, repeats: int) -> None:
    """Time an update and its products in turns, and print both."""
    import tensorflow as tf

    config = Config(seed=0, preset=preset, **PRESETS[preset])
    agent, batch = agent_and_batch(config)
    ops = products_of(update_graph(agent, batch))
    parts = alone(ops)
    timed = [lambda: agent._update(batch), tf.function(parts), tf.function(parts, jit_compile=True)]
    took, *candidates = in_turns(timed, repeats)
    products = min(candidates)
    flops = (4 + config.double) * config.batch_size * forward_flops(agent.online)
    peak = matmul_gflops()
    print(f"{preset} preset, batch {config.batch_size}: an update takes {took:.2f} ms, its {len(ops)} matrix products")
    print(f"and convolutions alone {products:.2f} ms: {took / products:.2f} times (at most {MOST} is wanted)")
    print(f"{flops / took / 1e6:.0f} GFLOP/s, {flops / took / 1e6 / peak:.0%} of the matrix-product peak of {peak:.0f}")


def cost_of_parts(repeats: int) -> None:
    """Time updates of the default preset's network and of those without one of its parts in turns, and print them."""
    updates = []
    for network in (Config.network, *(f"{NETWORKS}:{name}" for name in ABLATIONS)):
        agent, batch = agent_and_batch(Config(seed=0, network=network))
        updates.append(lambda update=agent._update, batch=batch: update(batch))
    whole, *ablated = in_turns(updates, repeats)
    for name, took in zip(ABLATIONS, ablated, strict=True):
        print(f"{name.replace('_', ' ')}: {took:.2f} ms, {whole - took:+.2f} ms saved of {whole:.2f}")


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument(
        "--preset", choices=("default", "tutorial"), default="default", help="settings (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=at_least(1), default=100, help="calls per round (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        import_tensorflow()
    print(machine(), flush=True)
    compare(arguments.preset, arguments.repeats)
    if arguments.preset == Config.preset:
        cost_of_parts(arguments.repeats)


if __name__ == "__main__":
    main()
