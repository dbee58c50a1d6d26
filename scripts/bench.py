"""Measures what a request costs the server, on both lanes, as a ratio to a bare relay in the same run.

What is compared:

    translated   /v1/messages of a real stack, converted to chat completions
    native       /v1/messages of a real stack, passed through
    chat         the platform's own /v1/chat/completions, on a third stack
    httpx        a relay of uvicorn, FastAPI and httpx that reads nothing: the unit, 1.0
    aiohttp      a relay of uvicorn, an ASGI function and aiohttp: about the least that is possible in Python

Method. All of them have the same upstream, in its own process, which sends bytes that are ready. The clients are in
this process. What counts is the CPU time of the server's process with all its threads: unlike the duration it does not
change because another process needs the core. Only the first byte is a duration, of one client alone.

A round starts all servers anew, warms them up, and measures each case on each server before it goes on to the next
case. Rounds differ in the order of the servers. Each figure is the median of the rounds; a ratio is taken within a
round. The times are those of one machine; the ratios are what can be compared.

Streams that are open at the same time are measured while all are open, without their start. From 16 streams on the
upstream sends 800 chunks a second in all, so that only the number of streams differs. Memory is measured first in each
round, because a server that has answered large requests has memory to reuse.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from bench_load import (
    LONG,
    SMALL,
    MeasurementError,
    body_for,
    burst_of_counts,
    cpu_per_request,
    first_bytes,
    held,
    open_streams,
    soak,
)
from bench_report import ROOT, TITLES, UNIT, Measured, chart, facts, mapping_table, report, write_section
from bench_servers import Server, start_local_stack, start_servers, start_upstream

REQUESTS: dict[str, tuple[str, bool, dict[str, float]]] = {
    "whole reply": (SMALL, False, {"translated": 1.1, "native": 0.95}),
    "stream of 200 chunks": (SMALL, True, {"translated": 0.5, "native": 0.65}),
    "whole reply to 150 kB": (LONG, False, {"translated": 3}),
    "stream in reply to 150 kB": (LONG, True, {"translated": 1.2}),
}
"""Case -> size of the request, whether the reply is a stream, and the goals: the highest ratios that are wanted."""
FIRST_BYTES = {"first byte of a whole reply": False, "first byte of a stream": True}
FIRST_BYTE_GOALS = {"translated": 1.3, "native": 1.3}
PACED_GOALS = {"translated": 0.7}
GROWTH_GOALS = {"translated": 1.1, "native": 1.1}
"""Of the cost of a chunk with most open streams to the cheapest with fewer: flat, with a tenth for the noise."""
MEMORY_GOALS_KIB = {"translated": 60, "native": 60}
PACE_MS = 20
CHUNKS_PER_SECOND = 800
ENDURING = {"held": ("translated", "native", "chat"), "soak": ("translated", "native")}
"""Section of the page -> the servers that it is measured on."""
HELD_SECONDS = 35
"""Three pings for each stream, with the platform's default of one in 10 seconds."""


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
        requests: Small requests for each case and round.
        long_requests: Requests of 150 kB for each case and round.
        concurrency: Requests at a time.
        first_bytes: Requests for each case of first bytes and round.
        streams: Numbers of open streams; the second is the paced case that has a goal.
        seconds: How long open streams are measured.
    """

    requests: int = 200
    long_requests: int = 50
    concurrency: int = 8
    first_bytes: int = 100
    streams: tuple[int, int, int, int] = (1, 16, 64, 256)
    seconds: float = 4.0


QUICK = Sizes(requests=8, long_requests=2, concurrency=2, first_bytes=2, streams=(1, 2, 3, 4), seconds=0.3)

type Results = dict[str, dict[str, list[float]]]


def pace_ms(streams: int) -> int:
    """Return the milliseconds between two chunks of a stream when that many are open."""
    return max(PACE_MS, streams * 1000 // CHUNKS_PER_SECOND)


def progress(text: str) -> None:
    """Print what is being measured to standard error."""
    print(text, file=sys.stderr, flush=True)


async def measure_round(servers: list[Server], upstream: str, sizes: Sizes, results: Results) -> None:
    """Measure each case once on each server and append to the results."""

    def add(case: str, server: str, value: float) -> None:
        results.setdefault(case, {}).setdefault(server, []).append(value)

    progress("warm-up")
    for server in servers:
        for stream in (False, True):
            await cpu_per_request(
                server, body_for(server.route, stream=stream), 4 * sizes.concurrency, sizes.concurrency
            )
        await open_streams(server, upstream, 2, PACE_MS, sizes.seconds / 10)
    for count in sorted(sizes.streams, reverse=True):
        progress(f"{count} open streams")
        for server in servers:
            cpu, kib = await open_streams(server, upstream, count, pace_ms(count), sizes.seconds)
            add(f"{count} open", server.name, cpu)
            if count == max(sizes.streams):
                add("memory", server.name, kib)
    for case, (size, stream, _) in REQUESTS.items():
        progress(case)
        requests = sizes.long_requests if size == LONG else sizes.requests
        for server in servers:
            body = body_for(server.route, size, stream=stream)
            await cpu_per_request(server, body, sizes.concurrency, sizes.concurrency)  # warms up
            add(case, server.name, await cpu_per_request(server, body, requests, sizes.concurrency))
    for case, stream in FIRST_BYTES.items():
        progress(case)
        for name, took in (await first_bytes(servers, stream=stream, requests=sizes.first_bytes)).items():
            add(case, name, statistics.median(took))


def measured_cases(results: Results, sizes: Sizes) -> list[Measured]:
    """Return the results with their titles, units and goals, in the order of the report."""
    _, paced, *_, most = sizes.streams
    chunk = {count: results[f"{count} open"] for count in sizes.streams}
    growth = {
        server: [
            cost / min(chunk[count][server][number] for count in sizes.streams if count != most)
            for number, cost in enumerate(values)
        ]
        for server, values in chunk[most].items()
    }
    return [
        *(Measured(case, "CPU ms", results[case], goals) for case, (_, _, goals) in REQUESTS.items()),
        Measured(f"chunk at {paced} streams, one in {PACE_MS} ms each", "CPU us", chunk[paced], PACED_GOALS),
        *(Measured(case, "ms", results[case], FIRST_BYTE_GOALS) for case in FIRST_BYTES),
        *(
            Measured(f"chunk at {count} open stream{'s' * (count > 1)}", "CPU us", chunk[count], compared=False)
            for count in sizes.streams
            if count != paced
        ),
        Measured(f"chunk at {most} open streams to the cheapest at fewer", "", growth, GROWTH_GOALS, compared=False),
        Measured(f"memory for each of {most} open streams", "KiB", results["memory"], MEMORY_GOALS_KIB, compared=False),
    ]


def compare(arguments: argparse.Namespace) -> None:
    """Run all rounds; print the tables, and write them with the chart into the page if wanted."""
    sizes = QUICK if arguments.quick else Sizes()
    results: Results = {}
    about = facts(
        f"Rounds: {arguments.rounds}, each of {sizes.requests} requests ({sizes.long_requests} of 150 kB), "
        f"{sizes.concurrency} at a time. Cells: the median of the rounds and, in brackets, the lowest and the highest."
    )
    with start_upstream() as upstream:
        for number in range(arguments.rounds):
            progress(f"round {number + 1} of {arguments.rounds}")
            with start_servers(upstream, arguments.servers) as servers:
                first = number % len(servers)
                asyncio.run(measure_round(servers[first:] + servers[:first], upstream, sizes, results))
    measured = measured_cases(results, sizes)
    text = f"{about}\n\n{report(measured)}"
    print(text)
    if arguments.write:
        write_section(arguments.write, "results", text)
        (arguments.write / "images").mkdir(exist_ok=True)
        (arguments.write / "images" / "benchmarks.svg").write_text(chart(measured), encoding="utf-8")


type Work = Callable[[Server, str], Coroutine[Any, Any, dict[str, float]]]


def endure(section: str, title: str, work: Work, arguments: argparse.Namespace) -> None:
    """Run one measurement on each stack; print its table, and write it into the page if wanted."""
    about, rows = facts(title), {}
    names = tuple(name for name in ENDURING[section] if name in arguments.servers)
    with start_upstream() as upstream, start_servers(upstream, names) as servers:
        for server in servers:
            progress(server.name)
            rows[server.name] = asyncio.run(work(server, upstream))
    text = f"{about}\n\n{mapping_table(section, rows)}"
    print(text)
    if arguments.write:
        write_section(arguments.write, section, text)


def count(arguments: argparse.Namespace) -> None:
    """Measure bursts of token counts on the local distribution, with its engine."""
    number = arguments.counts
    about = facts(f"{number} token counts at once, {arguments.rounds} times; the first burst, and the median.")
    with start_local_stack() as url:
        first, *others = [asyncio.run(burst_of_counts(url, number)) for _ in range(arguments.rounds + 1)]
    text = f"{about}\n\nThe first burst took {first:.0f} ms, the others {statistics.median(others):.0f} ms."
    print(text)
    if arguments.write:
        write_section(arguments.write, "counts", text)


def parsed_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="rounds to take the median of (default: 5)")
    parser.add_argument("--quick", action="store_true", help="one short round that shows that the benchmark works")
    parser.add_argument("--servers", nargs="+", choices=TITLES, default=list(TITLES), help="measure only these")
    parser.add_argument(
        "--held", type=int, metavar="N", help="instead: N silent streams of each lane, with their pings"
    )
    parser.add_argument("--soak", type=int, metavar="N", help="instead: N mixed requests on each lane")
    parser.add_argument("--counts", type=int, metavar="N", help="instead: bursts of N token counts, local distribution")
    parser.add_argument(
        "--write",
        nargs="?",
        type=Path,
        const=ROOT / "docs",
        metavar="FOLDER",
        help="write the result into benchmarks.md and images/benchmarks.svg of a folder (default: docs)",
    )
    arguments = parser.parse_args()
    if arguments.write == ROOT / "docs" and (arguments.quick or len(arguments.servers) < len(TITLES)):
        parser.error("the page needs a full run: without --quick and --servers")
    arguments.servers = tuple(name for name in TITLES if name in {UNIT, *arguments.servers})
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    return arguments


def main() -> None:
    """Measure what the command line selects."""
    arguments = parsed_arguments()
    seconds = 1 if arguments.quick else HELD_SECONDS
    try:
        if number := arguments.held:
            title = f"{number} silent streams for {seconds} s."
            endure("held", title, lambda *on: held(*on, number, seconds), arguments)
        elif number := arguments.soak:
            title = f"{number} mixed requests, {Sizes().concurrency} at a time."
            endure("soak", title, lambda *on: soak(*on, number, Sizes().concurrency), arguments)
        elif arguments.counts:
            count(arguments)
        else:
            compare(arguments)
    except MeasurementError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
