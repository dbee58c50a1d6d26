"""The report of the benchmark: tables in Markdown, a chart in SVG, and both written into docs/benchmarks.md.

Every cell has the median of the rounds and their spread (lowest to highest). A ratio is taken within each round, so
that a machine that gets slower from round to round does not change it.
"""

import os
import platform
import re
import statistics
import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import log
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
UNIT = "httpx"
"""The server whose cost is 1."""
TITLES = {
    "translated": "translated lane",
    "native": "native lane",
    "chat": "platform's chat route",
    "httpx": "httpx relay",
    "aiohttp": "aiohttp relay",
}
"""Servers in the order of the columns."""
PACKAGES = ("llama-stack", "uvicorn", "fastapi", "httpx", "aiohttp", "uvloop", "httptools")
LINE = 140


class Measured(NamedTuple):
    """What was measured of one case.

    Attributes:
        title: The case, as the tables name it.
        unit: The unit of the values.
        values: Server -> one value for each round.
        goals: Server -> the highest median that is wanted: of the ratio, or of the values if ``compared`` is False.
        compared: Whether the value is compared with that of the ``UNIT``.
    """

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]
    goals: Mapping[str, float] = {}
    compared: bool = True

    def ratios(self) -> dict[str, list[float]]:
        """Return the ratios to the ``UNIT`` for each round."""
        unit = self.values[UNIT]
        return {
            name: [value / one for value, one in zip(values, unit, strict=True)]
            for name, values in self.values.items()
            if name != UNIT
        }

    def met(self) -> dict[str, bool]:
        """Return for each server with a goal whether it is met."""
        values = self.ratios() if self.compared else self.values
        return {name: statistics.median(values[name]) <= goal for name, goal in self.goals.items() if name in values}


def report(measured: Sequence[Measured]) -> str:
    """Return the tables: ratios, values, and how many goals are met."""
    compared = [case for case in measured if case.compared]
    met = [goal for case in measured for goal in case.met().values()]
    names = [name for name in TITLES if name in measured[0].values]
    ratios = _table(
        ["ratio to the httpx relay", *(TITLES[name] for name in names if name != UNIT)],
        [
            [case.title, *(_cell(case.ratios()[name], case.goals.get(name)) for name in names if name != UNIT)]
            for case in compared
        ],
    )
    values = _table(
        ["measured", *(TITLES[name] for name in names)],
        [
            [
                f"{case.title}, {case.unit}" if case.unit else case.title,
                *(_cell(case.values[name], None if case.compared else case.goals.get(name)) for name in names),
            ]
            for case in measured
        ],
    )
    return f"{ratios}\n\n{values}\n\n{sum(met)} of {len(met)} goals are met."


def mapping_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a row for each server and a column for each quantity."""
    columns = list(next(iter(rows.values())))
    return _table(
        [title, *columns], [[TITLES[name], *(_number(row[column]) for column in columns)] for name, row in rows.items()]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _cell(values: Sequence[float], goal: float | None) -> str:
    middle = statistics.median(values)
    text = (
        _number(middle) if len(values) == 1 else f"{_number(middle)} ({_number(min(values))}..{_number(max(values))})"
    )
    return text if goal is None else f"{text}; goal {goal:g} {'met' if middle <= goal else 'not met'}"


def _number(value: float) -> str:
    """Return a number with about three digits; a count as it is."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def facts(method: str) -> str:
    """Return the sentence that says when and on what was measured; ``method`` says how."""
    try:
        commit = subprocess.check_output(["git", "describe", "--always", "--dirty"], cwd=ROOT, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    installed = []
    for name in PACKAGES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            installed.append(f"no {name}")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} at commit {commit}: {_cpu_model()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {', '.join(installed)}. "
        f"Load average before the run: {load}. {method}"
    )


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def write_section(folder: Path, name: str, content: str) -> None:
    """Replace a section of ``benchmarks.md``: what is between ``<!-- bench NAME -->`` and ``<!-- end NAME -->``.

    Raises:
        SystemExit: The page does not have that section.
    """
    page = folder / "benchmarks.md"
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- bench {name} -->\n")
    _, end, after = rest.partition(f"<!-- end {name} -->")
    if not (begin and end):
        raise SystemExit(f"{page} has no section {name}")
    lines = [line if line.startswith("|") else textwrap.fill(line, LINE) for line in content.splitlines()]
    page.write_text(f"{before}{begin}\n{'\n'.join(lines)}\n\n{end}{after}", encoding="utf-8")


CHART = {"translated": "#2563eb", "native": "#0d9488", "chat": "#d97706", "aiohttp": "#8b95a5"}
"""Server -> the colour of its bars."""
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
LEFT, PLOT, RIGHT, BAR, GAP, TOP = 265, 520, 60, 12, 14, 70
"""Pixels: the titles, the bars, the last value, the height of a bar, the space between cases, the legend."""
STYLE = (
    "text{font:12px sans-serif;fill:#1f2937}.axis{stroke:#d1d5db}.one{stroke:#6b7280;stroke-width:1.5}"
    ".goal{stroke:#dc2626;stroke-width:2.5}.page{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.axis{stroke:#374151}.one{stroke:#9ca3af}.page{fill:#111827}}"
)


def chart(measured: Sequence[Measured]) -> str:
    """Return the ratios as an SVG: bars on a logarithmic scale that begin at 1 (the httpx relay), marks for goals."""
    cases = [case for case in measured if case.compared]
    names = [name for name in CHART if name in cases[0].values]
    bars = [
        (case, name, statistics.median(values))
        for case in cases
        for name, values in ((name, case.ratios()[name]) for name in names)
    ]
    shown = [ratio for *_, ratio in bars] + [goal for case in cases for goal in case.goals.values()]
    low = max([tick for tick in TICKS if tick <= min(shown) and tick < 1], default=TICKS[0])
    high = min([tick for tick in TICKS if tick >= max(shown) and tick > 1], default=TICKS[-1])

    def x(ratio: float) -> float:
        return LEFT + PLOT * log(min(max(ratio, low), high) / low) / log(high / low)

    group = BAR * len(names) + GAP
    bottom = TOP + group * len(cases)
    width, height = LEFT + PLOT + RIGHT, bottom + 30
    parts = [f'<rect class="page" width="{width}" height="{height}"/>', *_legend(names)]
    for tick in TICKS:
        if low <= tick <= high:
            kind, where = "one" if tick == 1 else "axis", f"{x(tick):.1f}"
            parts.append(f'<line class="{kind}" x1="{where}" x2="{where}" y1="{TOP - 8}" y2="{bottom}"/>')
            parts.append(f'<text x="{where}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    for number, (case, name, ratio) in enumerate(bars):
        row, bar = divmod(number, len(names))
        y = TOP + row * group + bar * BAR
        if not bar:
            parts.append(f'<text x="10" y="{y + group / 2:.1f}">{escape(case.title)}</text>')
        start, end = sorted((x(1), x(ratio)))
        parts.append(
            f'<rect x="{start:.1f}" y="{y}" width="{end - start:.1f}" height="{BAR - 1}" fill="{CHART[name]}"/>'
        )
        parts.append(f'<text x="{end + 5:.1f}" y="{y + BAR - 1.5}">{_number(ratio)}</text>')
        if name in case.goals:
            goal = f"{x(case.goals[name]):.1f}"
            parts.append(f'<line class="goal" x1="{goal}" x2="{goal}" y1="{y - 1}" y2="{y + BAR}"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    title = "<title>Cost of a request as a ratio to the httpx relay</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", *parts, "</svg>\n"])


def _legend(names: Sequence[str]) -> list[str]:
    """Return the title of the chart, and the colours and the mark below it."""
    parts = ['<text x="10" y="20">Cost as a ratio to the httpx relay (= 1), logarithmic; less is better</text>']
    place = 10
    for name in names:
        parts.append(f'<rect x="{place}" y="32" width="12" height="12" fill="{CHART[name]}"/>')
        parts.append(f'<text x="{place + 17}" y="42">{escape(TITLES[name])}</text>')
        place += 165
    parts.append(f'<line class="goal" x1="{place + 4}" x2="{place + 4}" y1="31" y2="45"/>')
    return [*parts, f'<text x="{place + 14}" y="42">goal</text>']
