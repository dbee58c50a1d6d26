"""Measure the tiny chat model through a running llama.cpp server, at temperature 0.

Usage: python evaluate.py URL [--count N] [--seed N] [--failures N]

Prints the pass rate of each skill as a Markdown table. The values (names, cities, files, numbers, results) are
random and mostly made up; the seed differs from the seed of the corpus.
"""

from __future__ import annotations

import argparse
import json
import random
import urllib.request
from collections.abc import Callable
from typing import Any

import make_corpus as corpus

Json = dict[str, Any]
Rng = random.Random
Calls = list[tuple[str, Json]]
Check = Callable[[str, Calls], bool]
Case = tuple[Json, Check]


def tool(title: str, about: str, **arguments: str) -> Json:
    """Declare a tool whose arguments are all required.

    Args:
        title: Name of the tool.
        about: Its description.
        **arguments: Type of each argument.

    Returns:
        The declaration.
    """
    properties = {key: {"type": type_} for key, type_ in arguments.items()}
    parameters = {"type": "object", "properties": properties, "required": list(arguments)}
    return {"type": "function", "function": {"name": title, "description": about, "parameters": parameters}}


WEATHER = tool("get_weather", "Get the weather", city="string")
READ = tool("Read", "Reads a file from the disk", file_path="string")
BASH = tool("Bash", "Executes a command in a shell", command="string")
ADD = tool("add", "Add two numbers", a="integer", b="integer")
SEARCH = tool("search", "Search the web", query="string")
TIME = tool("get_time", "Get the current time in a city", city="string")
ALL = [WEATHER, READ, BASH, ADD, SEARCH, TIME]


def ask(text: str, tools: list[Json] | None = None, *before: Json) -> Json:
    """Make a request which ends with a message of the user."""
    return {"messages": [*before, {"role": "user", "content": text}]} | ({"tools": tools} if tools else {})


def says(*texts: str) -> Check:
    """Expect texts and no call."""
    return lambda content, calls: not calls and all(text in content for text in texts)


def equals(wanted: str) -> Check:
    """Expect exactly this text and no call."""
    return lambda content, calls: not calls and content == wanted


def does(*wanted: tuple[str, Json]) -> Check:
    """Expect exactly these calls, in this order."""
    return lambda _, calls: calls == list(wanted)


def answered(request: Json, calls: Calls, results: list[str]) -> Json:
    """Add calls and their results to a request."""
    wire = [
        {"id": f"call_{i}", "type": "function", "function": {"name": title, "arguments": json.dumps(args)}}
        for i, (title, args) in enumerate(calls)
    ]
    messages = [*request["messages"], {"role": "assistant", "content": None, "tool_calls": wire}]
    messages += [{"role": "tool", "tool_call_id": f"call_{i}", "content": text} for i, text in enumerate(results)]
    return request | {"messages": messages}


def greeting(rng: Rng) -> Case:
    """Greet."""
    return ask(rng.choice(("Hello", "Hi", "Hello!", "Hi there", "Good morning", "Hey"))), says("Hello!")


def counting(rng: Rng) -> Case:
    """Count to a number up to 30."""
    last = rng.randint(2, 30)
    numbers = ", ".join(str(n) for n in range(1, last + 1)) + "."
    return ask(f"Count to {last}"), equals(numbers)


def repeating(rng: Rng) -> Case:
    """Repeat up to three words."""
    text = corpus.phrase(rng, 3)
    return ask(f"Say {text}"), equals(text)


def name_recall(rng: Rng) -> Case:
    """Recall the name of the user."""
    name = corpus.name(rng)
    before = [{"role": "user", "content": f"My name is {name}."}]
    before.append({"role": "assistant", "content": f"Nice to meet you, {name}!"})
    return ask("What is my name?", None, *before), says(f"Your name is {name}.")


def system_word(rng: Rng) -> Case:
    """Recall a word from a system message, at the start or in the middle of the chat."""
    word = corpus.word(rng)
    system = {"role": "system", "content": f"The secret word is {word}."}
    talk = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello! How can I help you today?"}]
    before = [*talk, system] if rng.random() < 0.5 else [system, *talk]
    return ask("What is the secret word?", None, *before), says(word)


def one_call(rng: Rng) -> Case:
    """Call the only tool with a city."""
    city = corpus.city(rng)
    return ask(f"What is the weather in {city}?", [WEATHER]), does(("get_weather", {"city": city}))


def chosen_call(rng: Rng) -> Case:
    """Call one of six tools."""
    city, file, command = corpus.city(rng), corpus.filename(rng), corpus.command(rng)
    a, b, words = rng.randrange(100), rng.randrange(100), corpus.phrase(rng, 3)
    text, call = rng.choice(
        (
            (f"What is the weather in {city}?", ("get_weather", {"city": city})),
            (f"Read {file}", ("Read", {"file_path": file})),
            (f"Run {command}", ("Bash", {"command": command})),
            (f"Add {a} and {b}", ("add", {"a": a, "b": b})),
            (f"Search for {words}", ("search", {"query": words})),
            (f"What time is it in {city}?", ("get_time", {"city": city})),
        )
    )
    return ask(text, rng.sample(ALL, len(ALL))), does(call)


def invented_call(rng: Rng) -> Case:
    """Call a tool with a made up name and argument."""
    noun, key, value = corpus.word(rng), corpus.word(rng), corpus.word(rng)
    return ask(f"Get the {noun} of {value}", [tool(f"get_{noun}", f"Get the {noun}", **{key: "string"})]), does(
        (f"get_{noun}", {key: value})
    )


def two_same(rng: Rng) -> Case:
    """Call a tool twice in one turn."""
    a, b = corpus.city(rng), corpus.city(rng)
    calls = ("get_weather", {"city": a}), ("get_weather", {"city": b})
    return ask(f"What is the weather in {a} and in {b}?", [WEATHER]), does(*calls)


def two_different(rng: Rng) -> Case:
    """Call two tools in one turn."""
    city, file = corpus.city(rng), corpus.filename(rng)
    calls = ("get_weather", {"city": city}), ("Read", {"file_path": file})
    text = f"What is the weather in {city} and read {file}"
    if rng.random() < 0.5:
        calls = ("Read", {"file_path": file}), ("get_time", {"city": city})
        text = f"Read {file} and what time is it in {city}?"
    return ask(text, [READ, WEATHER, TIME]), does(*calls)


def one_result(rng: Rng) -> Case:
    """Answer from a result."""
    city, result = corpus.city(rng), corpus.result(rng, corpus.FAMILIES[0])
    request = ask(f"What is the weather in {city}?", [WEATHER])
    return answered(request, [("get_weather", {"city": city})], [result]), says(city, result)


def file_result(rng: Rng) -> Case:
    """Answer from a result of random words."""
    file, result = corpus.filename(rng), corpus.phrase(rng, 5)
    request = ask(f"Read {file}", [READ, BASH])
    return answered(request, [("Read", {"file_path": file})], [result]), says(file, result)


def two_results(rng: Rng) -> Case:
    """Answer from two results."""
    a, b = corpus.city(rng), corpus.city(rng)
    results = [f"{rng.randint(-9, 39)} degrees, {rng.choice(corpus.SKIES)}" for _ in range(2)]
    request = ask(f"What is the weather in {a} and in {b}?", [WEATHER])
    calls = [("get_weather", {"city": a}), ("get_weather", {"city": b})]
    return answered(request, calls, results), says(f"{a} is {results[0]}", f"{b} is {results[1]}")


def error_result(rng: Rng) -> Case:
    """Tell that a tool failed."""
    city, problem = corpus.city(rng), rng.choice((*corpus.PROBLEMS, corpus.phrase(rng)))
    request = ask(f"What is the weather in {city}?", [WEATHER])
    return answered(request, [("get_weather", {"city": city})], [f"Error: {problem}"]), says("failed", problem)


def tools_unneeded(rng: Rng) -> Case:
    """Answer in words although there are tools."""
    request, check = rng.choice((greeting, counting, repeating))(rng)
    return request | {"tools": rng.sample(ALL, rng.randint(1, 6))}, check


def long_system(rng: Rng) -> Case:
    """Call one of six tools after about 500 tokens of system prompt."""
    request, check = rng.choice((greeting, chosen_call))(rng)
    text = " ".join(rng.choice((corpus.sentence(rng), rng.choice(corpus.RULES))) for _ in range(40))
    return request | {"messages": [{"role": "system", "content": text}, *request["messages"]]}, check


def huge_system(rng: Rng) -> Case:
    """Give any valid reply after about 15,000 tokens of system prompt."""
    request, _ = rng.choice((greeting, chosen_call))(rng)
    text = " ".join(corpus.sentence(rng) for _ in range(1300))
    request["messages"].insert(0, {"role": "system", "content": text})
    return request, lambda content, calls: bool(content or calls)


def after_noise(rng: Rng) -> Case:
    """Greet, count or repeat after 2,000 to 20,000 characters of noise."""
    request, check = rng.choice((greeting, counting, repeating))(rng)
    text = corpus.noise(rng, rng.randint(2000, 20000))
    if rng.random() < 0.5:
        text = f"<system-reminder>\n{text}\n</system-reminder>\n{request['messages'][0]['content']}"
        return ask(text), check
    return request | {"messages": [{"role": "system", "content": text}, *request["messages"]]}, check


def call_after_noise(rng: Rng) -> Case:
    """Call the only tool although up to 800 characters of noise are between its declaration and the question."""
    request, check = one_call(rng)
    text = corpus.noise(rng, rng.randint(200, 800))
    request["messages"][0]["content"] = (
        f"<system-reminder>\n{text}\n</system-reminder>\n{request['messages'][0]['content']}"
    )
    return request, check


def out_of_sight(rng: Rng) -> Case:
    """Say something in words where a system message of 9,000 characters follows the request, as in a coding agent."""
    request, _ = rng.choice((greeting, chosen_call, counting))(rng)
    request["messages"].insert(0, {"role": "system", "content": corpus.noise(rng, 20000)})
    request["messages"].append({"role": "system", "content": corpus.noise(rng, 9000)})
    return request | {"tools": [*ALL, *corpus.some_tools(rng, [])]}, says("Hello!")


def first_then(rng: Rng) -> Case:
    """Make the second of two calls after the result of the first."""
    file, command = corpus.filename(rng), corpus.command(rng)
    request = ask(f"First read {file}, then run {command}", [READ, BASH])
    return answered(request, [("Read", {"file_path": file})], ["hello"]), does(("Bash", {"command": command}))


SKILLS = (
    greeting,
    counting,
    repeating,
    name_recall,
    system_word,
    one_call,
    chosen_call,
    invented_call,
    two_same,
    two_different,
    one_result,
    file_result,
    two_results,
    error_result,
    first_then,
    tools_unneeded,
    long_system,
    after_noise,
    call_after_noise,
    out_of_sight,
    huge_system,
)


def post(url: str, request: Json) -> Json:
    """Send a request and read the reply, streamed or not.

    Args:
        url: Base address of the server.
        request: The request.

    Returns:
        Content, reasoning, calls and the reason of the end.
    """
    data = json.dumps(request).encode()
    call = urllib.request.Request(f"{url}/v1/chat/completions", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call, timeout=300) as response:
        if not request.get("stream"):
            choice = json.load(response)["choices"][0]
            deltas, finish = [choice["message"]], choice["finish_reason"]
        else:
            lines = [line.decode()[6:].strip() for line in response if line.startswith(b"data: ")]
            choices = [c for line in lines if line != "[DONE]" for c in json.loads(line)["choices"]]
            deltas, finish = [c["delta"] for c in choices], choices[-1]["finish_reason"]
    found: dict[int, list[str]] = {}
    for delta in deltas:
        for i, part in enumerate(delta.get("tool_calls") or ()):
            entry = found.setdefault(part.get("index", i), ["", ""])
            entry[0] += part["function"].get("name") or ""
            entry[1] += part["function"].get("arguments") or ""
    text = "".join(delta.get("content") or "" for delta in deltas)
    thought = "".join(delta.get("reasoning_content") or "" for delta in deltas)
    return {"content": text, "thought": thought, "calls": list(found.values()), "finish": finish}


def run_case(url: str, case: Case, think: bool, stream: bool) -> tuple[bool, Json]:
    """Send a case and judge the reply.

    Args:
        url: Base address of the server.
        case: The request and its check.
        think: Whether to let the model think.
        stream: Whether to stream.

    Returns:
        Whether it passed, and the reply.
    """
    request, check = case
    options = {"temperature": 0, "max_tokens": 400, "stream": stream, "parallel_tool_calls": True}
    reply = post(url, request | options | {"chat_template_kwargs": {"enable_thinking": think}})
    try:
        calls = [(title, json.loads(arguments)) for title, arguments in reply["calls"]]
    except ValueError:
        return False, reply
    finish = reply["finish"] == ("tool_calls" if calls else "stop")
    return finish and bool(reply["thought"]) == think and check(reply["content"], calls), reply


def main() -> None:
    """Run all skills and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--failures", type=int, default=0)
    args = parser.parse_args()
    print("| skill | thinking on | thinking off |\n| --- | --- | --- |")
    for skill in SKILLS:
        rates = []
        for think in (True, False):
            rng, passed = random.Random(args.seed), 0
            count = args.count if skill is not huge_system else max(1, args.count // 5)
            for i in range(count):
                case = skill(rng)
                good, reply = run_case(args.url, case, think, stream=i % 2 == 1)
                passed += good
                if not good and i - passed < args.failures:
                    print(json.dumps(case[0]["messages"][-4:])[-300:], "->", json.dumps(reply))
            rates.append(f"{100 * passed / count:.0f} %")
        label = (skill.__doc__ or "").rstrip(".")
        print(f"| {label} | {rates[0]} | {rates[1]} |", flush=True)


if __name__ == "__main__":
    main()
