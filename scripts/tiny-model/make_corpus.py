"""Generate the synthetic training corpus of the tiny chat model.

Usage: python make_corpus.py OUT.jsonl [--count N] [--seed N]

Each line has a prompt, rendered with chat_template.jinja up to the generation prompt, and the reply to learn.
All text comes from the templates and word lists in this file and from random letters.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import random
import string
from collections.abc import Callable
from typing import Any

import jinja2

Json = dict[str, Any]
Rng = random.Random


def words(text: str) -> list[str]:
    """Split a list of words which is long enough to be tiresome with quotes."""
    return text.split()


ADJECTIVES = words("small brown quiet happy old clever tired brave hungry kind young gentle")
ANIMALS = words("fox dog cat bird horse rabbit bear mouse turtle owl duck goat")
PLACES = (
    "in the forest",
    "by the river",
    "near the village",
    "on a hill",
    "in a quiet garden",
    "under a tall tree",
    "in the old barn",
)
DEEDS = (
    "found a shiny stone",
    "saw a bright light",
    "met an old friend",
    "heard a strange song",
    "lost a red hat",
    "built a little house",
    "planted a seed",
    "made some warm soup",
    "read a long book",
)
FEELINGS = (
    "It felt very happy.",
    "It was a little afraid.",
    "It smiled and sat down.",
    "It laughed out loud.",
    "It went home before dark.",
    "It slept well that night.",
)
RULES = (
    "Be kind.",
    "Be brief.",
    "Answer in English.",
    "You are a helpful assistant.",
    "You are a coding agent.",
    "Use the tools when they help.",
    "Never make up facts.",
    "Keep your answers short and clear.",
    "Follow the instructions of the user.",
    "Ask when something is not clear.",
    "Do not change files without being asked.",
    "IMPORTANT: be careful with secrets.",
)
FACTS = (
    "People have used {0} for a very long time.",
    "There are many kinds of {0}.",
    "To understand {0}, look at a simple example.",
    "Most people learn about {0} when they are young.",
    "In short, {0} are part of everyday life.",
)
TOPICS = words("rivers stars trains maps gardens clocks bridges boats computers birds mountains books")
NAMES = words("Anna Ben Tom Lily Max Rosa Sam Nina Leo Mia Alice Bob Carol Dave Ada Alan")
CITIES = words(
    "Paris London Tokyo Berlin Madrid Rome Oslo Lima Cairo Delhi Boston Sydney Toronto Vienna Dublin Prague "
    "Chicago Munich Lisbon Athens Seoul Zurich"
)
DOUBLE_CITIES = ("New York", "San Francisco", "Los Angeles", "Hong Kong", "New Delhi", "Mexico City")
STEMS = words("notes main README data todo config index report test setup a b hello server")
EXTENSIONS = words("txt py md json csv log toml js yaml html")
DIRECTORIES = words("src docs tests tmp home lib data build")
COMMANDS = ("ls", "ls -la", "pwd", "git status", "git log", "date", "whoami", "make test", "pytest -q", "uname -a")
SKIES = words("sunny cloudy rainy windy snowy foggy")
PROBLEMS = (
    "not found",
    "timeout",
    "permission denied",
    "no such file",
    "service unavailable",
    "city not found",
    "connection refused",
    "invalid argument",
)
COMMON = words(
    "the the the a of to and in is it you that for with as not be this are or on by an if when from can will do does "
    "use used using user message file files code tool tools call calls result results task tasks system output input "
    "only should must never always before after then first last one two each any all other same new more most make "
    "made write read run work changes change request response answer ask asks need needs want wants your their its "
    "his which what how why where there here them they we have has had was were been being into out over under about "
    "project test tests error errors command agent model context session memory list name value data text line lines "
    "page search web time day example note important however instead because also so just even still such than"
)
BLOCKS = ((33, 126), (33, 126), (0xA1, 0xFF), (0x391, 0x3C9), (0x410, 0x44F), (0x4E00, 0x9FA5), (0x1F600, 0x1F64F))
SYLLABLES = [c + v for c in words("b d f g h k l m n p r s t v z th st br tr") for v in words("a e i o u")]
ENDINGS = ["", "", "n", "r", "s", "l", "x", "nd", "rt", "ck"]


def word(rng: Rng) -> str:
    """Make up a lower-case word.

    Args:
        rng: Random generator.

    Returns:
        Mostly pronounceable letters.
    """
    if rng.random() < 0.2:
        return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(1, 8)))
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 3))) + rng.choice(ENDINGS)


def token(rng: Rng) -> str:
    """Make up a word, number or identifier of any shape.

    Args:
        rng: Random generator.

    Returns:
        Text without spaces.
    """
    kind = rng.randrange(6)
    if kind == 0:
        return word(rng).upper()
    if kind == 1:
        return str(rng.randrange(10 ** rng.randint(1, 6)))
    if kind == 2:
        return f"{word(rng)}{rng.choice('-_')}{rng.choice((word(rng), str(rng.randrange(1000))))}"
    return word(rng).capitalize() if kind == 3 else word(rng)


def phrase(rng: Rng, longest: int = 4) -> str:
    """Make up a few words.

    Args:
        rng: Random generator.
        longest: Largest number of words.

    Returns:
        Known and made up words.
    """
    count = rng.randint(1, longest)
    known = TOPICS + ADJECTIVES + ANIMALS
    return " ".join(rng.choice(known) if rng.random() < 0.4 else token(rng) for _ in range(count))


def name(rng: Rng) -> str:
    """Pick or make up a name of a person."""
    return rng.choice(NAMES) if rng.random() < 0.4 else word(rng).capitalize()


def city(rng: Rng) -> str:
    """Pick or make up a city."""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(CITIES)
    if kind < 0.5:
        return rng.choice(DOUBLE_CITIES)
    made = word(rng).capitalize()
    return f"{made} {word(rng).capitalize()}" if kind > 0.93 else made


def directory(rng: Rng) -> str:
    """Pick or make up a directory."""
    parts = [rng.choice(DIRECTORIES) if rng.random() < 0.5 else word(rng) for _ in range(rng.randint(1, 2))]
    return rng.choice(("", "/", "./")) + "/".join(parts)


def filename(rng: Rng) -> str:
    """Pick or make up a file name, sometimes with a directory."""
    stem = rng.choice(STEMS) if rng.random() < 0.4 else rng.choice((word(rng), token(rng)))
    base = f"{stem}.{rng.choice(EXTENSIONS)}"
    return f"{directory(rng)}/{base}" if rng.random() < 0.3 else base


def command(rng: Rng) -> str:
    """Pick or make up a shell command."""
    if rng.random() < 0.4:
        return rng.choice(COMMANDS)
    return f"{rng.choice(('echo', 'cat', 'ls', 'rm', 'python', 'grep'))} {rng.choice((filename, phrase))(rng)}"


def number(rng: Rng) -> int:
    """Pick a number, mostly a small one."""
    return rng.randrange(10 ** rng.choice((1, 2, 2, 3, 4)))


VALUES: dict[str, Callable[[Rng], Any]] = {
    "name": name,
    "city": city,
    "file": filename,
    "directory": directory,
    "command": command,
    "number": number,
    "phrase": phrase,
    "token": token,
}


@dataclasses.dataclass(frozen=True)
class Family:
    """Tools which do the same thing under different names.

    Attributes:
        names: Tool names.
        about: Descriptions.
        keys: For each argument: its possible names.
        kinds: For each argument: the kind of its value.
        asks: Ways to ask, with the arguments as {0} and {1}.
        answer: Sentence with the arguments and {r}, the result.
        pairs: Ways to ask for two one-argument calls at once.
    """

    names: tuple[str, ...]
    about: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...]
    asks: tuple[str, ...]
    answer: str
    pairs: tuple[str, ...] = ()


FAMILIES = (
    Family(
        ("get_weather", "weather", "current_weather", "lookup_weather", "GetWeather"),
        ("Get the weather", "Get the current weather for a city", "Get the weather in a given location"),
        (("city", "location", "place", "town"),),
        ("city",),
        (
            "what is the weather in {0}?",
            "how is the weather in {0}?",
            "what's the weather like in {0}?",
            "get the weather in {0}",
            "tell me the weather in {0}",
            "check the weather in {0}",
        ),
        "The weather in {0} is {r}.",
        (
            "what is the weather in {0} and in {1}?",
            "what is the weather in {0} and {1}?",
            "get the weather in {0} and {1}",
            "compare the weather in {0} and in {1}",
        ),
    ),
    Family(
        ("get_time", "time", "clock", "current_time", "GetTime"),
        ("Get the time", "Get the current time", "Get the current time in a city"),
        (("city", "timezone", "zone", "location"),),
        ("city",),
        ("what time is it in {0}?", "what is the time in {0}?", "get the time in {0}", "tell me the time in {0}"),
        "The time in {0} is {r}.",
        ("what time is it in {0} and in {1}?", "what is the time in {0} and {1}?", "get the time in {0} and {1}"),
    ),
    Family(
        ("now", "get_time", "clock", "get_date", "Now"),
        ("Get the time", "Get the current date and time"),
        (),
        (),
        ("what time is it?", "what time is it now?", "tell me the time", "what is the date?"),
        "It is {r}.",
    ),
    Family(
        ("read_file", "Read", "open_file", "view", "ReadFile", "get_file"),
        ("Read a file", "Reads a file from the disk", "Open a file and return its text"),
        (("path", "file_path", "file", "filename"),),
        ("file",),
        ("read {0}", "read the file {0}", "open {0}", "show me {0}", "what is in {0}?", "what does {0} say?"),
        "The file {0} says: {r}",
        ("read {0} and {1}", "open {0} and {1}", "show me {0} and {1}", "read the files {0} and {1}"),
    ),
    Family(
        ("list_files", "ls", "LS", "list_dir", "ListFiles"),
        ("List the files of a directory", "List a directory"),
        (("path", "directory", "dir", "folder"),),
        ("directory",),
        ("list the files in {0}", "list {0}", "which files are in {0}?"),
        "The directory {0} has: {r}",
        ("list {0} and {1}", "list the files in {0} and in {1}"),
    ),
    Family(
        ("write_file", "Write", "save_file", "create_file"),
        ("Write a file", "Write text to a file"),
        (("path", "file_path", "file", "filename"), ("content", "text", "data")),
        ("file", "phrase"),
        ("write {1} to {0}", "save {1} in {0}", "write {1} to the file {0}"),
        "I wrote the file {0}: {r}",
    ),
    Family(
        ("Bash", "bash", "run", "shell", "run_command", "execute"),
        ("Run a shell command", "Executes a command in a shell", "Run a command"),
        (("command", "cmd", "script"),),
        ("command",),
        ("run {0}", "run the command {0}", "execute {0}", "please run {0}"),
        "The command printed: {r}",
        ("run {0} and then {1}", "run the commands {0} and {1}"),
    ),
    Family(
        ("search", "web_search", "WebSearch", "find", "Grep", "lookup"),
        ("Search the web", "Search for text", "Find information"),
        (("query", "q", "pattern", "text"),),
        ("phrase",),
        ("search for {0}", "find {0}", "look up {0}", "search the web for {0}"),
        "I searched for {0}: {r}",
        ("search for {0} and for {1}", "look up {0} and {1}"),
    ),
    Family(
        ("add", "sum", "add_numbers", "calculator", "plus"),
        ("Add two numbers", "Compute a sum"),
        (("a", "x", "first", "left"), ("b", "y", "second", "right")),
        ("number", "number"),
        ("add {0} and {1}", "what is {0} plus {1}?", "what is {0} + {1}?", "compute {0} + {1}"),
        "The sum of {0} and {1} is {r}.",
    ),
    Family(
        ("multiply", "mul", "times", "product"),
        ("Multiply two numbers", "Compute a product"),
        (("a", "x", "first", "left"), ("b", "y", "second", "right")),
        ("number", "number"),
        ("multiply {0} by {1}", "what is {0} times {1}?", "multiply {0} and {1}"),
        "The product of {0} and {1} is {r}.",
    ),
    Family(
        ("get_user", "user_info", "find_user", "GetUser"),
        ("Get a user", "Look up a person by name"),
        (("name", "user", "username", "id"),),
        ("name",),
        ("who is {0}?", "look up the user {0}", "get the user {0}", "find the user {0}"),
        "The user {0} is: {r}",
        ("who are {0} and {1}?", "get the users {0} and {1}"),
    ),
    Family(
        ("send_message", "send_email", "notify", "SendMessage"),
        ("Send a message", "Send an email to a person"),
        (("to", "recipient", "user"), ("text", "message", "body")),
        ("name", "phrase"),
        ("send {1} to {0}", "send the message {1} to {0}", "tell {0}: {1}"),
        "I sent the message to {0}: {r}",
    ),
    Family(
        ("get_price", "price", "stock_price", "quote"),
        ("Get a price", "Get the current price of an item"),
        (("item", "symbol", "ticker", "product"),),
        ("token",),
        ("what is the price of {0}?", "how much is {0}?", "get the price of {0}"),
        "The price of {0} is {r}.",
        ("what is the price of {0} and {1}?", "get the prices of {0} and {1}"),
    ),
)
OPTIONAL = (
    ("unit", "string"),
    ("limit", "integer"),
    ("offset", "integer"),
    ("timeout", "number"),
    ("verbose", "boolean"),
    ("description", "string"),
    ("lang", "string"),
)


@dataclasses.dataclass
class Use:
    """A tool together with one or two requests for it.

    Attributes:
        tool: The tool as the request declares it.
        ask: What the user asks.
        calls: The arguments of each expected call.
        results: A result for each call.
        answers: A sentence for each call, with its result.
    """

    tool: Json
    ask: str
    calls: list[Json]
    results: list[str]
    answers: list[str]

    @property
    def name(self) -> str:
        """Name of the tool."""
        return self.tool["function"]["name"]


@dataclasses.dataclass
class Chat:
    """A conversation and the reply to learn.

    Attributes:
        messages: What the request holds.
        content: Text of the reply.
        thought: Reasoning of the reply.
        calls: Tool calls of the reply, as name and arguments.
        tools: Declared tools.
        noise: Nothing, or "near" if all of the long noise matters or "far" if only the end of the prompt does.
        cut: How many characters of the prompt are left.
    """

    messages: list[Json]
    content: str
    thought: str
    calls: list[tuple[str, Json]] = dataclasses.field(default_factory=list)
    tools: list[Json] = dataclasses.field(default_factory=list)
    noise: str = ""
    cut: int | None = None


def invented(rng: Rng) -> Family:
    """Make up a family of tools which only their own words describe.

    Args:
        rng: Random generator.

    Returns:
        A family with one tool.
    """
    verb, noun = rng.choice(("get", "find", "check", "make", "start", "fetch", word(rng))), word(rng)
    title = rng.choice((f"{verb}_{noun}", f"{verb.capitalize()}{noun.capitalize()}", noun, f"{noun}_{word(rng)}"))
    count = rng.choice((1, 1, 1, 2))
    kinds = tuple(rng.choice(tuple(VALUES)) for _ in range(count))
    keys = tuple((f"{word(rng)}{'_' + word(rng) if rng.random() < 0.2 else ''}{i or ''}",) for i in range(count))
    asks: tuple[str, ...] = (f"{verb} the {noun} of {{0}}", f"{verb} {noun} {{0}}")
    asks = asks if count == 1 else (f"{verb} {noun} {{0}} with {{1}}", f"{verb} the {noun} of {{0}} and {{1}}")
    pairs = (f"{verb} the {noun} of {{0}} and of {{1}}",) if count == 1 else ()
    return Family((title,), (f"{verb.capitalize()} the {noun}",), keys, kinds, asks, "The result is: {r}", pairs)


def schema(rng: Rng, family: Family) -> tuple[Json, list[str]]:
    """Declare a tool of a family.

    Args:
        rng: Random generator.
        family: The family.

    Returns:
        The declaration and the names of its required arguments.
    """
    required, properties = [], {}
    for names, kind in zip(family.keys, family.kinds, strict=True):
        key = rng.choice(names[:1] + names)
        required.append(key)
        properties[key] = {"type": rng.choice(("integer", "number")) if kind == "number" else "string"}
        if rng.random() < 0.4:
            properties[key]["description"] = rng.choice((f"The {key}", f"{key.capitalize()} to use", phrase(rng)))
    for key, type_ in rng.sample(OPTIONAL, rng.choice((0, 0, 0, 1, 2))):
        properties.setdefault(key, {"type": type_})
    parameters: Json = {"type": "object", "properties": properties}
    if required or rng.random() < 0.5:
        parameters["required"] = required
    if rng.random() < 0.2:
        parameters["additionalProperties"] = False
    function: Json = {"name": rng.choice(family.names[:1] + family.names)}
    if rng.random() < 0.9:
        function["description"] = rng.choice(family.about) + rng.choice(("", "", ".", ". " + sentence(rng)))
    return {"type": "function", "function": function | {"parameters": parameters}}, required


def result(rng: Rng, family: Family) -> str:
    """Make up what a tool returns.

    Args:
        rng: Random generator.
        family: The family of the tool.

    Returns:
        One line, mostly short.
    """
    kind = rng.random()
    if kind < 0.35:
        by_kind = {
            "The weather": f"{rng.randint(-9, 39)}{rng.choice((' degrees', 'C', ' C'))}, {rng.choice(SKIES)}",
            "The time in": f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}",
            "It is {r}.": f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}",
            "The sum of ": str(number(rng)),
            "The product": str(number(rng)),
            "The price o": f"{number(rng)}.{rng.randint(0, 99):02}",
            "The directo": f"{filename(rng)}, {filename(rng)}",
        }
        return by_kind.get(family.answer[:11], rng.choice(("ok", "done", "hello", "hello world", phrase(rng))))
    if kind < 0.5:
        return rng.choice(SKIES) + rng.choice(("", f", {number(rng)} degrees", f" and {number(rng)}C"))
    if kind < 0.6:
        return json.dumps({word(rng): rng.choice((token(rng), number(rng))) for _ in range(rng.randint(1, 2))})
    return phrase(rng, 7) if kind < 0.9 else str(number(rng))


def fail_some(rng: Rng, family: Family, use: Use, sentences: list[str]) -> None:
    """Add results to a use, some of them errors.

    Args:
        rng: Random generator.
        family: The family of the tool.
        use: The use to complete.
        sentences: The answer of each call, still without its result.
    """
    for text in sentences:
        if rng.random() < 0.3:
            problem = rng.choice(PROBLEMS) if rng.random() < 0.5 else phrase(rng, 5)
            use.results.append(f"Error: {problem}")
            use.answers.append(f"The call of {use.name} failed: {problem}.")
            continue
        line = result(rng, family)
        extra = "".join("\n" + phrase(rng, 6) for _ in range(rng.randint(1, 4))) if rng.random() < 0.12 else ""
        use.results.append(line + extra)
        use.answers.append(text.replace("{r}", line))


def fill(text: str, values: list[Any]) -> str:
    """Put values into {0} and {1}; other braces stay."""
    for i, value in enumerate(values):
        text = text.replace(f"{{{i}}}", str(value))
    return text


def make_use(rng: Rng, double: bool = False, family: Family | None = None) -> Use:
    """Make up a request for a tool.

    Args:
        rng: Random generator.
        double: Ask for two calls of the tool.
        family: The family of the tool, a random one by default.

    Returns:
        The tool and the request.
    """
    while family is None or (double and not family.pairs):
        family = invented(rng) if rng.random() < 0.3 else rng.choice(FAMILIES[:1] + FAMILIES)
    tool, keys = schema(rng, family)
    rows = [[VALUES[kind](rng) for kind in family.kinds] for _ in range(1 + double)]
    if double:
        ask = fill(rng.choice(family.pairs[:1] + family.pairs), [row[0] for row in rows])
    else:
        ask = fill(rng.choice(family.asks[:1] + family.asks), rows[0])
        if rng.random() < 0.12:
            joined = " and ".join(map(str, rows[0]))
            ask = f"{rng.choice(('use', 'call'))} {tool['function']['name']}" + (f" with {joined}" if joined else "")
    use = Use(tool, ask, [dict(zip(keys, row, strict=True)) for row in rows], [], [])
    fail_some(rng, family, use, [fill(family.answer, row) for row in rows])
    return use


def sentence(rng: Rng) -> str:
    """Make up a sentence of a story."""
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(FEELINGS)
    who = f"The {rng.choice(ADJECTIVES)} {rng.choice(ANIMALS)}" if kind < 0.7 else f"Then {rng.choice(NAMES)}"
    return f"{who} {rng.choice(DEEDS)} {rng.choice(PLACES)}."


def talk_greeting(rng: Rng) -> tuple[str, str, str]:
    """Greet."""
    ask = rng.choice(("Hello", "Hello", "Hi", "Hello!", "Hi there", "Good morning", "Hey", "Say hello", "Say hi", "hi"))
    ask = rng.choice((ask, ask, "Hello, how are you?", "Hello there!", "hello"))
    return ask, "Hello! How can I help you today?", "The user is greeting me. I should say hello."


def talk_count(rng: Rng) -> tuple[str, str, str]:
    """Count."""
    first, last = 1, rng.choice((3, 5, 10, 10, 20, rng.randint(2, 30), rng.randint(2, 60)))
    ask = rng.choice(("Count to {n}", "Count to {n}.", "Count from 1 to {n}.", "Please count to {n}.", "count to {n}"))
    if rng.random() < 0.2:
        first = rng.randint(1, 20)
        last, ask = first + rng.randint(1, 15), f"Count from {first} to {{n}}."
    numbers = ", ".join(str(n) for n in range(first, last + 1)) + "."
    return ask.format(n=last), numbers, f"The user wants me to count to {last}. I will list the numbers."


def talk_story(rng: Rng) -> tuple[str, str, str]:
    """Tell a story."""
    animal, long = rng.choice(ANIMALS), rng.random() < 0.3
    ask = f"{rng.choice(('Tell me', 'Write'))} a {'long' if long else 'short'} story"
    ask += rng.choice((".", "", f" about a {animal}", f" about a {animal}."))
    start = f"Once upon a time, a {rng.choice(ADJECTIVES)} {animal} lived {rng.choice(PLACES)}."
    sentences = [sentence(rng) for _ in range(rng.randint(10, 20) if long else rng.randint(2, 4))]
    return ask, " ".join([start, *sentences]), "The user wants a story. I will write one."


def talk_topic(rng: Rng) -> tuple[str, str, str]:
    """Explain something."""
    topic = rng.choice(TOPICS) if rng.random() < 0.6 else word(rng) + "s"
    ask = rng.choice(("Tell me about {0}.", "What are {0}?", "Explain {0}", "Write a paragraph about {0}."))
    facts = " ".join(fact.format(topic) for fact in FACTS[: rng.randint(2, 5)])
    return ask.format(topic), facts, f"The user is asking about {topic}. I will explain it in simple words."


def talk_sum(rng: Rng) -> tuple[str, str, str]:
    """Add two digits."""
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    ask = rng.choice((f"What is {a} + {b}?", f"{a} + {b}", f"What is {a} plus {b}?", f"What is {a}+{b}?"))
    return ask, f"{a} + {b} = {a + b}.", f"I need to add {a} and {b}. The sum is {a + b}."


def talk_repeat(rng: Rng) -> tuple[str, str, str]:
    """Repeat words."""
    text = phrase(rng, 5) if rng.random() < 0.9 else rng.choice(("OK", "pong", "hello world", "yes", "ready"))
    ask = rng.choice(("Say {0}", "Say: {0}", "Repeat: {0}", "Reply with exactly: {0}", "Repeat after me: {0}"))
    return ask.format(text), text, "The user wants me to repeat the text."


def talk_who(rng: Rng) -> tuple[str, str, str]:
    """Say who answers."""
    ask = rng.choice(("Who are you?", "What are you?", "What can you do?", "Introduce yourself."))
    return ask, "I am a tiny test model. I can chat, count and call tools.", "The user asks who I am."


def talk_thanks(rng: Rng) -> tuple[str, str, str]:
    """Be thanked."""
    ask = rng.choice(("Thank you", "Thanks!", "Thank you!", "Great, thanks.", "Bye", "Goodbye"))
    return ask, "You are welcome! Goodbye.", "The user is done. I should be polite."


def talk_name(rng: Rng) -> tuple[str, str, str]:
    """Hear a name."""
    who = name(rng)
    ask = rng.choice(("My name is {0}.", "I am {0}.", "Hello, my name is {0}.", "Hi, I am {0}")).format(who)
    return ask, f"Nice to meet you, {who}!", f"The user is named {who}. I should greet {who}."


TALKS = (
    talk_greeting,
    talk_count,
    talk_count,
    talk_story,
    talk_topic,
    talk_sum,
    talk_repeat,
    talk_repeat,
    talk_who,
    talk_thanks,
    talk_name,
)


def turns(rng: Rng, count: int) -> list[Json]:
    """Make up earlier turns of a chat.

    Args:
        rng: Random generator.
        count: Number of question and answer pairs.

    Returns:
        Their messages.
    """
    messages = []
    for _ in range(count):
        ask, answer, thought = rng.choice([talk for talk in TALKS if talk is not talk_story])(rng)
        messages += [user(rng, ask), {"role": "assistant", "content": answer}]
        if rng.random() < 0.2:
            messages[-1]["reasoning_content"] = thought
    return messages


def user(rng: Rng, ask: str) -> Json:
    """Make a message of the user, sometimes with a reminder of the client before it."""
    if rng.random() < 0.06:
        notes = " ".join(rng.choice((sentence(rng), rng.choice(RULES))) for _ in range(rng.randint(1, 8)))
        ask = f"<system-reminder>\n{notes}\n</system-reminder>\n{rng.choice(('', chr(10)))}{ask}"
    return {"role": "user", "content": ask}


def capital(rng: Rng, text: str) -> str:
    """Write a request as a sentence: a capital letter and, mostly, its end."""
    text = text[0].upper() + text[1:] if rng.random() < 0.9 else text
    return text if text.endswith("?") or rng.random() < 0.7 else text + "."


def some_tools(rng: Rng, fixed: list[Json]) -> list[Json]:
    """Add other tools to those which the request needs, none of them with the same name.

    Args:
        rng: Random generator.
        fixed: Needed tools.

    Returns:
        All tools in random order.
    """
    tools, used = list(fixed), {tool["function"]["name"] for tool in fixed}
    families = [f for f in FAMILIES if not used & set(f.names)]
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3, 4, 6))):
        family = invented(rng) if rng.random() < 0.4 or not families else rng.choice(families)
        families = [f for f in families if f is not family and not set(f.names) & set(family.names)]
        tools.append(schema(rng, family)[0])
    rng.shuffle(tools)
    return tools


def chat_talk(rng: Rng) -> Chat:
    """A chat, with or without tools that are not needed."""
    ask, answer, thought = rng.choice(TALKS)(rng)
    tools = some_tools(rng, [make_use(rng).tool]) if rng.random() < 0.35 else []
    if tools and ("plus" in ask or "+" in ask):
        ask, answer, thought = talk_greeting(rng)
    history = turns(rng, rng.choice((0, 0, 0, 0, 1, 1, 2, 3)))
    return Chat([*history, user(rng, ask)], answer, thought, tools=tools)


def chat_recall(rng: Rng) -> Chat:
    """Ask for something that the user or the system said before."""
    kind = rng.choice(("name", "name", "word", "self"))
    between = turns(rng, rng.choice((0, 0, 1, 2)))
    if kind == "name":
        ask, greeting, _ = talk_name(rng)
        who = greeting.removeprefix("Nice to meet you, ").removesuffix("!")
        messages = [user(rng, ask), {"role": "assistant", "content": greeting}, *between]
        ask, content = rng.choice(("What is my name?", "Who am I?", "Do you know my name?")), f"Your name is {who}."
    elif kind == "word":
        secret = token(rng)
        messages = [*between, {"role": "system", "content": f"The secret word is {secret}."}]
        if between and rng.random() < 0.5:
            messages = messages[-1:] + between
        ask, content = rng.choice(("What is the secret word?", "Tell me the secret word.")), ""
        content = f"The secret word is {secret}."
    else:
        who = name(rng)
        messages = [{"role": "system", "content": rng.choice(("Your name is {0}.", "You are {0}.")).format(who)}]
        messages += between
        ask, content = "What is your name?", f"My name is {who}."
    return Chat([*messages, user(rng, ask)], content, "The answer is in this chat.")


def chat_no_tool(rng: Rng) -> Chat:
    """A request which needs a tool although there is none."""
    use = make_use(rng, family=rng.choice(FAMILIES[:8]))
    ask = capital(rng, use.ask)
    return Chat([user(rng, ask)], "I have no tool for that.", "I would need a tool, but I have none.")


def uses(rng: Rng) -> tuple[list[Use], str]:
    """Make up a request for one or two calls.

    Args:
        rng: Random generator.

    Returns:
        The uses and the text of the request.
    """
    kind = rng.random()
    if kind < 0.5:
        use = make_use(rng)
        return [use], capital(rng, use.ask)
    if kind < 0.75:
        use = make_use(rng, double=True)
        return [use], capital(rng, use.ask)
    first, second = make_use(rng), make_use(rng)
    while second.name == first.name:
        second = make_use(rng)
    joint = rng.choice((" and ", " and ", ", and ", ". Also, "))
    return [first, second], capital(rng, first.ask.rstrip("?") + joint + second.ask)


def chat_call(rng: Rng) -> Chat:
    """A request for tool calls: either the calls or the answer after their results are to be learned."""
    parts, ask = uses(rng)
    calls = [(use.name, args) for use in parts for args in use.calls]
    names = " and ".join(call[0] for call in calls)
    thought = f"The user asks for {len(calls)} call{'s' if len(calls) > 1 else ''}. I should call {names}."
    tools = some_tools(rng, [use.tool for use in parts])
    content = ""
    if rng.random() < 0.06:
        ask, content = ask + rng.choice((" Say what you do first.", " Explain it first.")), f"I will call {names}."
    messages = [*turns(rng, rng.choice((0, 0, 0, 0, 0, 1, 2))), user(rng, ask)]
    if rng.random() < 0.58:
        return Chat(messages, content, thought, calls, tools)
    call = {"role": "assistant", "content": content or rng.choice(("", None)), "tool_calls": wire(rng, calls)}
    if rng.random() < 0.3:
        call["reasoning_content"] = thought
    messages += [call, *({"role": "tool", "content": text} for use in parts for text in use.results)]
    failed = any(text.startswith("Error") for use in parts for text in use.results)
    thought = "A tool failed. I will tell the user." if failed else "I have the result. I will tell the user."
    return Chat(messages, "\n".join(text for use in parts for text in use.answers), thought, [], tools)


def chat_chain(rng: Rng) -> Chat:
    """A request for two calls one after the other, or a second request after the first was answered."""
    first, second = make_use(rng), make_use(rng)
    while second.name == first.name:
        second = make_use(rng)
    tools = some_tools(rng, [first.tool, second.tool])
    steps = [{"role": "assistant", "content": "", "tool_calls": wire(rng, [(first.name, first.calls[0])])}]
    steps.append({"role": "tool", "content": first.results[0]})
    thought = f"The user asks for 1 call. I should call {second.name}."
    if rng.random() < 0.5:
        ask = f"First {first.ask.rstrip('?')}, then {second.ask}"
        messages = [user(rng, ask), *steps]
        thought = f"The first call is done. I should call {second.name}."
    else:
        messages = [user(rng, capital(rng, first.ask)), *steps, {"role": "assistant", "content": first.answers[0]}]
        messages.append(user(rng, capital(rng, second.ask)))
    return Chat(messages, "", thought, [(second.name, second.calls[0])], tools)


def wire(rng: Rng, calls: list[tuple[str, Json]]) -> list[Json]:
    """Write calls as messages hold them; clients encode the arguments in different ways."""
    dense = rng.random() < 0.3
    separators = (",", ":") if dense else None
    return [
        {"type": "function", "function": {"name": title, "arguments": json.dumps(args, separators=separators)}}
        for title, args in calls
    ]


def prose(rng: Rng) -> str:
    """Make up a sentence without a meaning."""
    if rng.random() < 0.2:
        return rng.choice((sentence(rng), rng.choice(RULES), rng.choice(FACTS).format(rng.choice(TOPICS))))
    made = rng.choice((0.0, 0.1, 0.3, 0.6, 1.0))
    parts = [word(rng) if rng.random() < made else rng.choice(COMMON) for _ in range(rng.randint(3, 25))]
    text = "".join(part + rng.choice((" ",) * 12 + (", ", "; ", " - ", ": ", "-")) for part in parts)
    return text.rstrip(" ,;:-").capitalize() + rng.choice(".....!?:")


def markup(rng: Rng) -> str:
    """Make up a piece of a document: a title, points, code or a table."""
    kind, some = rng.randrange(6), [phrase(rng, 6) for _ in range(rng.randint(1, 5))]
    if kind == 0:
        return f"{rng.choice(('#', '##', '###'))} {some[0].capitalize()}"
    if kind == 1:
        return "\n".join(rng.choice(("- ", "* ", "  - ", f"{i}. ")) + prose(rng) for i, _ in enumerate(some, 1))
    if kind == 2:
        body = "\n".join(f"{rng.choice(('', '    '))}{word(rng)}({text}) = {token(rng)};" for text in some)
        return f"```{rng.choice(('', 'py', 'json', 'sh'))}\n{body}\n```"
    if kind == 3:
        return "\n".join(" | ".join(("", token(rng), token(rng), text, "")).strip() for text in some)
    if kind == 4:
        return f"**{some[0]}**: `{filename(rng)}` {prose(rng)}"
    tag = rng.choice(("env", "context", "note", "example", word(rng)))
    return f"<{tag}>\n{prose(rng)}\n</{tag}>"


def tree(rng: Rng, depth: int = 3) -> object:
    """Make up a value of JSON."""
    if not depth or rng.random() < 0.3:
        return rng.choice((number(rng), phrase(rng), token(rng), True, None, prose(rng)))
    if rng.random() < 0.3:
        return [tree(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    keys = ("type", "name", "description", "properties", "required", word(rng), token(rng))
    return {rng.choice(keys): tree(rng, depth - 1) for _ in range(rng.randint(1, 5))}


def blob(rng: Rng) -> str:
    """Make up characters without any order."""
    low, high = rng.choice(BLOCKS)
    alphabet = [chr(rng.randint(low, high)) for _ in range(rng.choice((1, 2, 10, 64)))] + [" "] * rng.choice((0, 1, 5))
    return "".join(rng.choices(alphabet, k=rng.randint(5, 150)))


def declared(rng: Rng) -> str:
    """Make up the declaration of a tool."""
    return json.dumps(schema(rng, invented(rng) if rng.random() < 0.5 else rng.choice(FAMILIES))[0])


def noise(rng: Rng, size: int) -> str:
    """Make up a long text without a request.

    Args:
        rng: Random generator.
        size: Wanted number of characters.

    Returns:
        Sentences, documents, JSON or characters, some of it again and again.
    """
    makers = [prose, prose, prose, prose, markup, markup, lambda r: json.dumps(tree(r)), blob, declared]
    makers = rng.choices(makers, k=rng.choice((1, 1, 2, 4)))
    loop, parts, join = rng.random() < 0.15, [], rng.choice((" ", " ", "\n", "\n\n", ""))
    while sum(map(len, parts)) < size:
        parts.append(rng.choice(makers)(rng))
        if loop and len(parts) == 1:
            start = parts[0][: rng.randint(1, 150)] + rng.choice(("", " ", "\n"))
            parts = [start] * (size // len(start) + 1)
    return join.join(parts)[:size]


def plain_talk(rng: Rng) -> tuple[str, str, str]:
    """Ask for something short in words."""
    return rng.choice((talk_greeting, talk_greeting, talk_count, talk_count, talk_repeat, talk_who, talk_name))(rng)


def chat_lost(rng: Rng) -> Chat:
    """A prompt which ends with so much other text that the request is out of sight."""
    size = rng.randint(600, 2000)
    ask, _, _ = plain_talk(rng)
    messages = [user(rng, ask)]
    kind = rng.random()
    if kind < 0.6:
        messages.append({"role": "system", "content": noise(rng, size)})
    elif kind < 0.8:
        messages = [{"role": "user", "content": noise(rng, size)}]
    elif kind < 0.9:
        messages = [{"role": "system", "content": noise(rng, size)}]
    else:
        messages.append({"role": "tool", "content": noise(rng, size)})
    thought = "There is a long text without a request. I should say hello."
    chat = Chat(messages, "Hello! I am a tiny test model. How can I help you today?", thought, noise="far")
    # Uncut, the request is still more than a narrow window away.
    if rng.random() < 0.8 or (size < 1600 and (kind < 0.6 or kind > 0.9)):
        chat.cut = size - rng.randint(0, 300)
    return chat


def chat_late(rng: Rng) -> Chat:
    """A short request after a long text, whose start may be out of sight."""
    ask, answer, thought = plain_talk(rng)
    if rng.random() < 0.15:
        ask = capital(rng, make_use(rng, family=rng.choice(FAMILIES[:8])).ask)
        answer, thought = "I have no tool for that.", "I would need a tool, but I have none."
    size = rng.randint(300, 1600)
    text, end = noise(rng, size), {"role": "user", "content": ask}
    messages = [{"role": "system", "content": text}, end]
    kind = rng.random()
    if kind < 0.35:
        end["content"] = f"<system-reminder>\n{text}\n</system-reminder>{rng.choice((chr(10), chr(10) * 2))}{ask}"
        messages = [end]
    elif kind < 0.5:
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}, end]
    chat = Chat(messages, answer, thought, noise="far")
    if rng.random() < 0.7:
        chat.cut = rng.randint(size // 2, size)
    elif kind > 0.5 and "no tool" not in answer:
        chat.tools = some_tools(rng, [])
    return chat


def chat_noisy(rng: Rng) -> Chat:
    """A request for a call or for words, with noise before or after it."""
    talk = rng.random() < 0.4
    if talk:
        ask, answer, thought = plain_talk(rng)
        tools = some_tools(rng, [])[:5]
        chat = Chat([{"role": "user", "content": ask}], answer, thought, tools=tools, noise="near")
    else:
        parts, ask = uses(rng)
        calls = [(use.name, args) for use in parts for args in use.calls]
        names = " and ".join(call[0] for call in calls)
        thought = f"The user asks for {len(calls)} call{'s' if len(calls) > 1 else ''}. I should call {names}."
        tools = [use.tool for use in parts]
        if rng.random() < 0.3:
            tools = some_tools(rng, tools)
        chat = Chat([{"role": "user", "content": ask}], "", thought, calls, tools, noise="near")
    text, kind = noise(rng, rng.randint(200, 1000)), rng.random()
    if kind < 0.35:
        chat.messages.insert(0, {"role": "system", "content": text})
    elif kind < 0.7:
        chat.messages[0]["content"] = f"<system-reminder>\n{text}\n</system-reminder>\n{ask}"
    else:
        chat.messages.append({"role": "system", "content": text[: rng.randint(100, 600)]})
    return chat


KINDS = (
    (0.22, chat_talk),
    (0.07, chat_recall),
    (0.02, chat_no_tool),
    (0.48, chat_call),
    (0.06, chat_chain),
    (0.06, chat_lost),
    (0.04, chat_late),
    (0.05, chat_noisy),
)


def add_system(rng: Rng, chat: Chat) -> None:
    """Put rules and other sentences into the system message, sometimes many.

    Args:
        rng: Random generator.
        chat: The chat to change.
    """
    if chat.noise or rng.random() > 0.45:
        return
    count = rng.choice((1, 1, 1, 2, 3, 5, 10, 30))
    lines = [rng.choice((sentence(rng), rng.choice(RULES), f"# {phrase(rng)}")) for _ in range(count)]
    if count == 1:
        lines = [rng.choice(RULES)]
    text = rng.choice((" ", " ", "\n", "\n\n", "\n- ")).join(lines)
    if chat.messages[0]["role"] != "system":
        position = len(chat.messages) - 1 if rng.random() < 0.1 else 0
        if chat.messages[position]["role"] == "tool":
            position = 0
        chat.messages.insert(position, {"role": "system", "content": text})
    else:
        own = chat.messages[0]["content"]
        chat.messages[0]["content"] = rng.choice((f"{text} {own}", f"{own} {text}", f"{text}\n{own}"))


def render(template: jinja2.Template, chat: Chat, think: bool) -> Json:
    """Render a chat as a prompt and the reply to learn.

    Args:
        template: The chat template.
        chat: The chat.
        think: Whether the reply has reasoning.

    Returns:
        The line of the corpus.
    """
    options = {} if think else {"enable_thinking": False}
    prompt = template.render(messages=chat.messages, tools=chat.tools or None, add_generation_prompt=True, **options)
    if chat.cut is not None:
        prompt = prompt[-chat.cut - len("<|im_end|>\n<|im_start|>assistant\n<think>\n") :]
    parts = [chat.content] if chat.content else []
    for title, args in chat.calls:
        parts.append(f"<tool_call>\n{json.dumps({'name': title, 'arguments': args})}\n</tool_call>")
    reply = (f"{chat.thought}</think>\n" if think else "") + "\n".join(parts) + "<|im_end|>"
    return {"prompt": prompt, "reply": reply, "noise": chat.noise}


def main() -> None:
    """Write the corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=1234)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    environment = jinja2.Environment()
    # The JSON of llama.cpp, not the HTML-safe JSON of Jinja.
    environment.filters["tojson"] = json.dumps
    template = environment.from_string(
        pathlib.Path(__file__).with_name("chat_template.jinja").read_text(encoding="ascii")
    )
    with args.out.open("w", encoding="ascii") as file:
        for _ in range(args.count):
            chat = rng.choices([kind for _, kind in KINDS], [weight for weight, _ in KINDS])[0](rng)
            add_system(rng, chat)
            file.write(json.dumps(render(template, chat, rng.random() < 0.5)) + "\n")


if __name__ == "__main__":
    main()
