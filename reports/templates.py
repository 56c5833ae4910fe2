"""Fill in the HTML files of this folder."""

from __future__ import annotations

import string
from pathlib import Path


class _Template(string.Template):
    delimiter = "@"  # as in @{name}, which neither CSS nor JavaScript uses


def fill_template(name: str, **values: str) -> str:
    """Return an HTML file with a value in place of every @{name}."""
    return _Template((Path(__file__).parent / name).read_text(encoding="utf-8")).substitute(values)
