"""Every link in the pages leads to a file, and to a heading, that is there."""

import re
from pathlib import Path

import pytest
from scripts import ROOT

PAGES = [*ROOT.glob("*.md"), *(path for folder in ("docs", "models", "logs") for path in ROOT.glob(f"{folder}/*.md"))]
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)")


def anchors(text: str) -> set[str]:
    """The headings of a page, named as GitHub names them in links."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links(page: Path) -> None:
    text = page.read_text()
    for target, heading in LINK.findall(text):
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name} links to {target}, which is not there"
        if heading and there.suffix == ".md":
            assert heading in anchors(there.read_text()), f"{page.name} links to {target}#{heading}"
