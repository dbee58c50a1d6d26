"""The pictures of a terminal in docs/images/ are shown by a page and load nothing."""

import re

import pytest

from support.pages import PAGES
from support.stack_process import ROOT

PICTURES = sorted((ROOT / "docs" / "images").iterdir())


def test_each_picture_is_shown_by_a_page_and_each_page_shows_existing_ones():
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    }
    assert shown == set(PICTURES)
    assert PICTURES


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_picture_loads_nothing_and_runs_nothing(picture):
    """No font, image or script; the only address with a scheme is that of the stack."""
    text = picture.read_text(encoding="utf-8")
    assert not re.search(r"@import|@font-face|url\((?!#)|href|<script|<image", text)
    hosts = set(re.findall(r"https?://([\w.]+)", text))
    assert hosts <= {"www.w3.org", "127.0.0.1"}
