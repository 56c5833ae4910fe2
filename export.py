"""Take a trained agent to other programs: ONNX, LiteRT, SavedModel or Keras. `python export.py --to onnx`"""

from __future__ import annotations

import console.requirements  # noqa: F401 (first of all: it says what is missing)

# isort: split
import argparse
from pathlib import Path

from console.arguments import add_model_argument, check_writable, make_parser, trusted_settings
from console.errors import exit_on_bad_input
from console.messages import say
from console.signals import end_quietly
from console.tensorflow_import import import_tensorflow
from storage.exported import ENDINGS, check_export, export, exportable_network
from storage.model_file import read_model
from storage.runs import find_model


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser("Write a trained agent's network, with all that acting takes, in a format of other programs.")
    add_model_argument(parser)
    parser.add_argument("--to", required=True, choices=ENDINGS, help="the format")
    parser.add_argument("--out", type=Path, metavar="PATH", help="the file, or a SavedModel's folder (default: named "
                        "after the model, in the current folder)")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    end_quietly()
    arguments = parse_arguments()
    with exit_on_bad_input():
        saved = read_model(find_model(arguments.model), trusted_settings(arguments))
        out = arguments.out or Path((saved.run or saved.path.stem) + ENDINGS[arguments.to])
        check_export(saved, arguments.to, out)
        check_writable("--out", str(out.parent))
        say(f"exporting {saved.path}, some seconds")
        import_tensorflow()
        network = exportable_network(saved)
        export(network, arguments.to, out)
    print(f"wrote {out}")
    print("\n".join(interface(network)))


def interface(network: object) -> list[str]:
    """Say what goes in and what comes out."""
    inputs = {array.name: array for array in network.inputs}  # type: ignore[attr-defined]
    lines = [f"input   {name}: {array.dtype} {(*array.shape,)}" for name, array in inputs.items()]
    output = network.output  # type: ignore[attr-defined]
    return [*lines, f"output  {output.dtype} {(*output.shape,)}: a Q-value for each action; the highest is the best"]


if __name__ == "__main__":
    main()
