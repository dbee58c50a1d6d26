"""What scripts/bench counts, and its report: ratios, goals, the sections of the page and the chart."""

import importlib.util
import os
import re
import sys
import threading
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
SPEC = importlib.util.spec_from_file_location("bench_report", SCRIPTS / "bench_report.py")
bench_report = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bench_report)

WHOLE = bench_report.Measured(
    "whole reply",
    "CPU ms",
    {"translated": [4.0, 3.0, 9.0], "native": [1.0, 2.0, 3.0], "httpx": [2.0, 2.0, 3.0]},
    {"translated": 1.1, "native": 0.95},
)
MEMORY = bench_report.Measured(
    "memory", "KiB", {"translated": [61.0], "native": [60.0], "httpx": [31.0]}, {"translated": 60, "native": 60}, False
)


def test_a_ratio_is_taken_within_each_round_and_reported_as_the_median():
    """The spread is that of the ratios; a goal is compared with the median."""
    assert WHOLE.ratios() == {"translated": [2.0, 1.5, 3.0], "native": [0.5, 1.0, 1.0]}
    (row,) = [line for line in bench_report.report([WHOLE]).splitlines() if line.startswith("| whole reply |")]
    assert row == "| whole reply | 2.00 (1.50..3.00); goal 1.1 not met | 1.00 (0.50..1.00); goal 0.95 not met |"


def test_a_goal_that_is_no_ratio_is_beside_the_value():
    """It is met by the value itself; the summary counts all goals."""
    lines = bench_report.report([WHOLE, MEMORY]).splitlines()
    assert "| memory, KiB | 61.0; goal 60 not met | 60.0; goal 60 met | 31.0 |" in lines
    assert lines[-1] == "1 of 4 goals are met."


def test_a_section_of_the_page_is_replaced_and_nothing_else(tmp_path):
    """Twice, with the same result; long prose is wrapped, tables are not."""
    page, table = tmp_path / "benchmarks.md", f"| {'x' * 200} |"
    page.write_text("a\n<!-- bench held -->\nold\n<!-- end held -->\nb\n<!-- bench soak -->\n<!-- end soak -->\n")
    for _ in range(2):
        bench_report.write_section(tmp_path, "held", f"{'word ' * 40}\n\n{table}")
    text = page.read_text()
    assert re.sub(r"word[ \n]", "", text) == (
        f"a\n<!-- bench held -->\n\n\n{table}\n\n<!-- end held -->\nb\n<!-- bench soak -->\n<!-- end soak -->\n"
    )
    assert max(len(line) for line in text.splitlines() if line != table) <= bench_report.LINE


def test_a_page_without_the_section_is_an_error(tmp_path):
    """The page stays as it is."""
    page = tmp_path / "benchmarks.md"
    page.write_text("a\n<!-- bench held -->\n")
    with pytest.raises(SystemExit, match="has no section held"):
        bench_report.write_section(tmp_path, "held", "x")
    assert page.read_text() == "a\n<!-- bench held -->\n"


def test_the_chart_has_a_bar_for_each_ratio_and_a_mark_for_each_goal():
    """Bars begin at 1: to the right if the server costs more than the relay, to the left if less."""
    case = WHOLE._replace(values={"translated": [4.0], "native": [1.0], "httpx": [2.0]})
    svg = bench_report.chart([case, MEMORY])
    assert svg == bench_report.chart([case, MEMORY])
    root = ET.fromstring(svg)
    named = "{http://www.w3.org/2000/svg}"
    (one,) = [float(line.get("x1")) for line in root.iter(f"{named}line") if line.get("class") == "one"]
    bars = {
        rect.get("fill"): (float(rect.get("x")), float(rect.get("width")))
        for rect in root.iter(f"{named}rect")
        if rect.get("height") == str(bench_report.BAR - 1)
    }
    right, left = (bars[bench_report.CHART[name]] for name in ("translated", "native"))
    assert right[0] == one
    assert left[0] + left[1] == pytest.approx(one, abs=0.2)
    assert left[1] == pytest.approx(right[1], abs=0.2)  # twice and half of the relay, on a logarithmic scale
    marks = [line for line in root.iter(f"{named}line") if line.get("class") == "goal"]
    assert len(marks) == 2 + 1  # one in the legend


@pytest.mark.skipif(sys.platform != "linux", reason="the process clocks of other systems are read in ticks")
def test_the_cpu_time_of_a_server_includes_threads_that_have_ended(monkeypatch):
    """It is that of the process, as the process itself reads it."""
    monkeypatch.syspath_prepend(SCRIPTS)
    from bench_load import cpu_seconds

    thread = threading.Thread(target=lambda: sum(range(1_000_000)))
    thread.start()
    thread.join()
    before = time.process_time()
    counted = cpu_seconds(os.getpid())
    assert before <= counted <= time.process_time()
