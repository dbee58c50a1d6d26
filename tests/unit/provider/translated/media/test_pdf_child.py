"""The text of PDFs, read in child processes: the program of the child, and the loader that starts it."""

import asyncio
import contextlib
import io
import json
import random

import pytest
from pypdf import PdfWriter

from llama_stack_provider_messages.translated.media import pdf_child, pdf_texts
from llama_stack_provider_messages.translated.media.pdf_texts import (
    MAX_CHILDREN,
    PDF_PROBLEMS,
    PdfTexts,
    Reading,
    read_in_child,
)
from llama_stack_provider_messages.translation.messages_to_chat import Failed, LoadedText
from support.pdfs import bomb, encoded, pdf_of, pdf_with, shown

MUTATIONS = 600


def read_pdf(data, seconds=60):
    return read_in_child(data, seconds, Reading())


def problem(name):
    return Failed(PDF_PROBLEMS[name])


def encrypted():
    writer = PdfWriter()
    writer.append(io.BytesIO(pdf_with("Secret")))
    writer.encrypt("password", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_the_text_comes_page_by_page():
    """In the order of the pages, empty ones included."""
    assert read_pdf(pdf_with("Hello", "", "World")) == LoadedText(("Hello", "", "World"))


def test_a_pdf_after_other_bytes_is_read():
    """Its header may be preceded by other bytes."""
    assert read_pdf(b"\r\n\r\n" + pdf_with("Hello")) == LoadedText(("Hello",))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"no pdf at all", "kind"),
        (b"%PDF-1.4\nnothing else", "broken"),
        (pdf_with("Hello")[:200], "broken"),
        (pdf_with("", ""), "empty"),
        (pdf_with(*["x"] * (pdf_child.MAX_PAGES + 1)), "pages"),
    ],
    ids=["other bytes", "header alone", "cut", "no text", "too many pages"],
)
def test_each_problem_has_its_error_message(data, name):
    """It says what is wrong and what to send instead."""
    assert read_pdf(data) == problem(name)
    assert "; send " in PDF_PROBLEMS[name]


def test_an_encrypted_pdf_is_rejected():
    """The API itself rejects it, too."""
    assert read_pdf(encrypted()) == problem("encrypted")


@pytest.mark.parametrize("twice", [False, True], ids=["packed once", "packed twice"])
def test_a_decompression_bomb_fails_in_the_child(twice):
    """A small file that decompresses to 300 MB is rejected; the server does not hold the data."""
    data = bomb(300 << 20, twice=twice)
    assert len(data) < 400_000
    assert read_pdf(data) == problem("broken")


def test_a_pdf_that_takes_too_long_is_a_timeout():
    """The child is killed after the timeout."""
    assert read_pdf(bomb(48 << 20, shown("x") + b"\n"), 1) == problem("time")


def test_text_above_the_limit_is_rejected(monkeypatch):
    """The output of the child is limited, too."""
    monkeypatch.setattr(pdf_child, "MAX_CHARACTERS", 10)
    assert pdf_child.read(pdf_with("12345", "67890", "1")) == {"problem": "length"}


def test_the_text_is_free_of_what_json_or_a_database_rejects(monkeypatch):
    """Broken fonts give lone surrogates and NUL."""
    monkeypatch.setattr("pypdf.PageObject.extract_text", lambda _page: " a\0b\ud800 ")
    assert pdf_child.read(pdf_with("x")) == {"pages": ["ab?"]}


def test_the_child_writes_one_json_object(monkeypatch, capsys):
    """It limits its own time and memory first."""
    limits = []
    monkeypatch.setattr(pdf_child, "limit_resources", limits.append)
    monkeypatch.setattr(pdf_child.logging, "disable", lambda: None)
    monkeypatch.setattr(pdf_child.sys, "argv", ["pdf_child", "7"])
    monkeypatch.setattr(pdf_child.sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(pdf_with("Hi"))}))
    pdf_child.main()
    assert json.loads(capsys.readouterr().out) == {"pages": ["Hi"]}
    assert limits == [7]


def mutated(data, rng):
    """Return a PDF with bytes changed, removed or doubled, or its end cut off."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(changed))
        kind = rng.randrange(4)
        if kind == 0:
            changed[place] = rng.randrange(256)
        elif kind == 1:
            del changed[place : place + rng.randint(1, 20)]
        elif kind == 2:
            changed[place:place] = changed[place : place + rng.randint(1, 40)]
        else:
            changed = changed[: max(20, len(changed) - rng.randint(1, 100))]
    return bytes(changed)


def output_of(data):
    """Return the output of the child, None if it fails."""
    with contextlib.suppress(Exception):
        return pdf_child.read(data)
    return None


def test_broken_pdfs_give_valid_output_or_fail_the_child():
    """Whatever is wrong with a PDF, the output has one of the two forms and can be encoded."""
    rng = random.Random(20)
    source = pdf_with("Hello", "World")
    outputs = [output_of(mutated(source, rng)) for _ in range(MUTATIONS)]
    valid = [output for output in outputs if output is not None]
    assert 0 < len(valid) < MUTATIONS
    for output in valid:
        assert set(output) < {"pages", "problem"}
        assert output.get("problem", "empty") in PDF_PROBLEMS
        json.dumps(output.get("pages", []), ensure_ascii=False).encode()


def test_a_child_that_fails_is_a_broken_pdf():
    """No exception of the reader reaches the server."""
    rng = random.Random(21)
    texts = [read_pdf(mutated(pdf_with("Hello"), rng)) for _ in range(12)]
    assert all(isinstance(text, LoadedText | Failed) for text in texts)
    assert problem("broken") in texts


def test_a_child_that_cannot_start_is_a_broken_pdf(monkeypatch):
    """The request is still answered."""
    monkeypatch.setattr(pdf_texts.sys, "executable", "/nowhere/python")
    assert read_pdf(pdf_with("x")) == problem("broken")


def test_the_child_does_not_get_the_keys_of_upstreams(monkeypatch, tmp_path):
    """Its environment has the module path and the variables that Python needs to start."""
    program = tmp_path / "child.py"
    program.write_text("import json, os\nprint(json.dumps({'pages': sorted(os.environ)}))")
    monkeypatch.setattr(pdf_texts.pdf_child, "__file__", str(program))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/lib/x")
    seen = read_pdf(b"%PDF-").pages
    assert {"LD_LIBRARY_PATH", "PYTHONPATH"} <= set(seen)
    assert "OPENAI_API_KEY" not in seen


SLOW = encoded(bomb(48 << 20, shown("x") + b"\n"))


@pytest.fixture
def started(monkeypatch):
    """The child processes that were started, as a queue."""
    children = asyncio.Queue()

    class Noted(Reading):
        def __init__(self):
            super().__init__()
            self.loop = asyncio.get_running_loop()

        def begin(self, child):
            super().begin(child)
            self.loop.call_soon_threadsafe(children.put_nowait, child)

    monkeypatch.setattr(pdf_texts, "Reading", Noted)
    return children


async def test_close_kills_a_child_that_is_still_reading(started):
    """The shutdown of the server does not wait for a PDF."""
    texts = PdfTexts(600)
    reading = asyncio.ensure_future(texts.read(SLOW, texts.budget()))
    child = await started.get()
    texts.close()
    assert await asyncio.wait_for(reading, 60) == problem("broken")
    assert child.returncode is not None


async def test_a_child_is_killed_when_its_client_leaves(started):
    """Its place is free at once, and others are read."""
    texts = PdfTexts(600)
    for _ in range(2 * MAX_CHILDREN):
        reading = asyncio.ensure_future(texts.read(SLOW, texts.budget()))
        child = await started.get()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await asyncio.to_thread(child.wait, 60) < 0
    assert await asyncio.wait_for(texts.read(encoded(pdf_with("Hi")), texts.budget()), 60) == LoadedText(("Hi",))
    texts.close()


async def test_a_request_with_many_slow_pdfs_leaves_a_place_for_others(started):
    """Four files of 100 kB held everybody up for a minute."""
    texts = PdfTexts(600)
    budget = texts.budget()
    slow = [asyncio.ensure_future(texts.read(SLOW + "\n" * number, budget)) for number in range(4)]
    await started.get()
    other = await asyncio.wait_for(texts.read(encoded(pdf_with("Hi")), texts.budget()), 60)
    assert other == LoadedText(("Hi",))
    assert not any(reading.done() for reading in slow)
    for reading in slow:
        reading.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    texts.close()


async def test_the_time_of_a_request_is_limited_for_all_its_pdfs_together(started):
    """What the first one has used is missing for the second, which may be read in the next request."""
    texts = PdfTexts(1)
    budget = texts.budget()
    assert await texts.read(SLOW, budget) == problem("time")
    hello = encoded(pdf_with("Hi"))
    assert await texts.read(hello, budget) == problem("time")
    assert started.qsize() == 1
    assert await texts.read(SLOW, texts.budget()) == problem("time")
    assert started.qsize() == 1  # cached
    texts.close()
    texts = PdfTexts(600)
    assert await texts.read(hello, texts.budget()) == LoadedText(("Hi",))
    texts.close()


async def test_a_document_is_read_once(monkeypatch):
    """The same document comes with every turn of a conversation; failures are cached, too."""
    read = []

    def once(data, *_):
        read.append(data)
        return LoadedText(("x",)) if len(read) == 1 else problem("empty")

    monkeypatch.setattr(pdf_texts, "read_in_child", once)
    texts = PdfTexts(60)
    for _ in range(3):
        assert await texts.read(encoded(b"one"), texts.budget()) == LoadedText(("x",))
        assert await texts.read(encoded(b"two"), texts.budget()) == problem("empty")
    assert read == [b"one", b"two"]
    texts.close()
    texts.close()


async def test_invalid_base64_is_a_failure():
    """Also if nothing else has validated the request."""
    texts = PdfTexts(60)
    assert await texts.read("%%% \ud800", texts.budget()) == problem("base64")
    texts.close()


def test_the_limits_are_set_if_the_system_has_them(monkeypatch):
    """A system without them reads PDFs, too."""
    resource = pytest.importorskip("resource")
    calls = []

    def setrlimit(kind, value):
        calls.append((kind, value))
        raise ValueError

    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    pdf_child.limit_resources(5)
    assert calls == [
        (resource.RLIMIT_AS, (pdf_child.MAX_MEMORY_BYTES, pdf_child.MAX_MEMORY_BYTES)),
        (resource.RLIMIT_CPU, (5, 5)),
    ]
    monkeypatch.setitem(__import__("sys").modules, "resource", None)
    pdf_child.limit_resources(5)
    assert len(calls) == 2


def test_a_pdf_without_compression_is_read():
    """The PDFs that these tests build are valid."""
    assert read_pdf(pdf_of(shown("plain"))) == LoadedText(("plain",))
