"""scripts/bench runs end to end; its figures are not looked at, because this machine is not quiet."""

import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from support.stack_process import ROOT

pytestmark = pytest.mark.integration

NUMBER = re.compile(r"-?\d+(\.\d+)?(; goal [\d.]+ (not )?met)?")


def run(folder, *options):
    """Run the benchmark and return what it printed and the page that it wrote."""
    shutil.copy(ROOT / "docs" / "benchmarks.md", folder)
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), "--quick", "--write", str(folder), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, timeout=550)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout, (folder / "benchmarks.md").read_text()


def rows(text):
    """Return the cells of the rows of all tables, by the first cell."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {first: cells for first, *cells in lines if cells and cells[0] != "---"}


def test_a_quick_run_measures_every_case_on_every_server(tmp_path):
    """The page and the chart are written; each cell has a number, and goals are beside them."""
    printed, page = run(tmp_path)
    table = rows(printed)
    assert len(table.pop("ratio to the httpx relay")) == 4
    assert len(table.pop("measured")) == 5
    assert len(table) == 7 + 7 + 5
    assert {len(cells) for cells in table.values()} == {4, 5}
    assert [cell for cells in table.values() for cell in cells if not NUMBER.fullmatch(cell)] == []
    assert "goal 1.1" in table["whole reply"][0]
    assert re.search(r"^\d+ of 15 goals are met\.$", printed, re.MULTILINE)
    assert rows(printed).items() <= rows(page).items()
    bars = ET.parse(tmp_path / "images" / "benchmarks.svg").getroot().iter("{http://www.w3.org/2000/svg}rect")
    assert len([bar for bar in bars if bar.get("height") == "11"]) == 7 * 4


@pytest.mark.parametrize(
    ("options", "header"),
    [
        (["--held", "20", "--servers", "native"], "held"),
        (["--soak", "30", "--servers", "native"], "soak"),
    ],
)
def test_long_runs(tmp_path, options, header):
    """Silent streams, and mixed requests with errors and clients that leave, on one lane."""
    printed, page = run(tmp_path, *options)
    table = rows(printed)
    assert list(table) == [header, "native lane"]
    assert [cell for cell in table["native lane"] if not NUMBER.fullmatch(cell)] == []
    assert table.items() <= rows(page).items()


def test_the_page_is_not_written_by_a_quick_run(tmp_path):
    """``--write`` without a folder means docs/, which has the figures of a whole run."""
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), "--quick", "--write"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert done.returncode == 2
    assert "the page needs a full run" in done.stderr
