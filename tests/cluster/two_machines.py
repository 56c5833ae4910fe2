"""Train on a cluster of two nodes; in the middle of the run one of them is lost and another one joins.

Run as a script, since Ray reads the environment when it is imported.
"""

import os
import secrets
import sys
from pathlib import Path

from cluster.ray_session import LOOPBACK, QUIET

token = Path("token")
token.touch(mode=0o600)
token.write_text(secrets.token_hex(32))
os.environ.update({**QUIET, **LOOPBACK, "RAY_AUTH_TOKEN_PATH": str(token.resolve())})

from console.tensorflow_import import import_tensorflow  # noqa: E402

import_tensorflow()

import keras  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from config import Config  # noqa: E402
from train import train  # noqa: E402


class LoseNode(keras.callbacks.Callback):
    """The node where both actors are goes down in the second window."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == 1:
            cluster.add_node(num_cpus=2)
            cluster.remove_node(node, allow_graceful=False)


if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    node = cluster.add_node(num_cpus=2)
    train(Config.from_preset(**eval(sys.argv[1])), [LoseNode()], quiet=True, address=cluster.address)
    cluster.shutdown()
