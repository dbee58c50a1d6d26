"""The text of PDFs, read in child processes."""

import asyncio
import contextlib
import io
import json
import random

import pytest
from pypdf import PdfWriter

from llama_stack_provider_messages.translated.media import pdf, pdf_child
from llama_stack_provider_messages.translated.media.pdf import PROBLEMS, PdfTexts, read_in_child
from llama_stack_provider_messages.translation.messages_to_chat import Failed, LoadedText
from support.pdfs import bomb, encoded, pdf_of, pdf_with, shown

MUTATIONS = 600


def problem(name):
    return Failed(PROBLEMS[name])


def encrypted():
    writer = PdfWriter()
    writer.append(io.BytesIO(pdf_with("Secret")))
    writer.encrypt("password", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_the_text_comes_page_by_page():
    """In the order of the pages, empty ones included."""
    assert read_in_child(pdf_with("Hello", "", "World"), 30) == LoadedText(("Hello", "", "World"))


def test_a_pdf_behind_other_bytes_is_read():
    """Its header need not be the first thing in the file."""
    assert read_in_child(b"\r\n\r\n" + pdf_with("Hello"), 30) == LoadedText(("Hello",))


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
def test_what_cannot_be_read_is_named(data, name):
    """Each cause has its text, with the remedy."""
    assert read_in_child(data, 30) == problem(name)
    assert "; send " in PROBLEMS[name]


def test_an_encrypted_pdf_is_named():
    """As the API itself refuses it."""
    assert read_in_child(encrypted(), 30) == problem("encrypted")


@pytest.mark.parametrize("twice", [False, True], ids=["packed once", "packed twice"])
def test_a_decompression_bomb_ends_in_its_child(twice):
    """A small file that unfolds to 300 MB is refused; the server holds none of it."""
    data = bomb(300 << 20, twice=twice)
    assert len(data) < 400_000
    assert read_in_child(data, 30) == problem("broken")


def test_a_pdf_that_takes_too_long_is_given_up():
    """The child is ended when its time is over."""
    assert read_in_child(bomb(48 << 20, shown("x") + b"\n"), 1) == problem("time")


def test_more_text_than_a_model_reads_is_refused(monkeypatch):
    """The answer of the child is bounded as well."""
    monkeypatch.setattr(pdf_child, "MAX_CHARACTERS", 10)
    assert pdf_child.read(pdf_with("12345", "67890", "1")) == {"problem": "length"}


def test_text_holds_nothing_that_json_or_a_database_refuses():
    """Halves of surrogate pairs and NUL come out of broken fonts."""
    assert pdf_child._clean(" a\0b\ud800 ") == "ab?"


def test_the_child_says_what_it_read(monkeypatch, capsys):
    """One JSON object on standard output, bounded in what it may use."""
    limits = []
    monkeypatch.setattr(pdf_child, "bound", limits.append)
    monkeypatch.setattr(pdf_child.logging, "disable", lambda: None)
    monkeypatch.setattr(pdf_child.sys, "argv", ["pdf_child", "7"])
    monkeypatch.setattr(pdf_child.sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(pdf_with("Hi"))}))
    pdf_child.main()
    assert json.loads(capsys.readouterr().out) == {"pages": ["Hi"]}
    assert limits == [7]


def mutated(data, rng):
    """Return a PDF with bytes changed, taken out, doubled, or its end cut off."""
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


def answer_of(data):
    """Return what the child would say, None where it ends without a word."""
    with contextlib.suppress(Exception):
        return pdf_child.read(data)
    return None


def test_broken_pdfs_give_an_answer_or_end_the_child():
    """Whatever is wrong with a PDF, what the child says is one of the two forms, and can be sent on."""
    rng = random.Random(20)
    source = pdf_with("Hello", "World")
    answers = [answer_of(mutated(source, rng)) for _ in range(MUTATIONS)]
    said = [answer for answer in answers if answer is not None]
    assert 0 < len(said) < MUTATIONS
    for answer in said:
        assert set(answer) < {"pages", "problem"}
        assert answer.get("problem", "empty") in PROBLEMS
        json.dumps(answer.get("pages", []), ensure_ascii=False).encode()


def test_a_child_that_fails_is_a_broken_pdf():
    """No exception of the reader reaches the server."""
    rng = random.Random(21)
    answers = [read_in_child(mutated(pdf_with("Hello"), rng), 30) for _ in range(12)]
    assert all(isinstance(answer, LoadedText | Failed) for answer in answers)
    assert problem("broken") in answers


def test_a_child_that_cannot_start_is_a_broken_pdf(monkeypatch):
    """The request is answered all the same."""
    monkeypatch.setattr(pdf.sys, "executable", "/nowhere/python")
    assert read_in_child(pdf_with("x"), 30) == problem("broken")


def test_the_child_does_not_see_the_keys_of_upstreams(monkeypatch, tmp_path):
    """Its environment holds where modules are, and what Python needs to start."""
    program = tmp_path / "child.py"
    program.write_text("import json, os\nprint(json.dumps({'pages': sorted(os.environ)}))")
    monkeypatch.setattr(pdf.pdf_child, "__file__", str(program))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/lib/x")
    seen = read_in_child(b"%PDF-", 30).pages
    assert {"LD_LIBRARY_PATH", "PYTHONPATH"} <= set(seen)
    assert "OPENAI_API_KEY" not in seen


async def test_closing_ends_a_child_that_still_reads():
    """A server that is told to end does not wait for a PDF."""
    started, loop = asyncio.Event(), asyncio.get_running_loop()

    class Children(set):
        def add(self, child):
            super().add(child)
            loop.call_soon_threadsafe(started.set)

    texts = PdfTexts(30)
    texts._children = Children()
    reading = asyncio.ensure_future(texts.read(encoded(bomb(48 << 20, shown("x") + b"\n"))))
    await started.wait()
    texts.close()
    assert await asyncio.wait_for(reading, 5) == problem("broken")
    assert not texts._children


async def test_a_document_is_read_once(monkeypatch):
    """The same document comes again with every turn of a conversation; failures are remembered too."""
    read = []

    def once(data, *_):
        read.append(data)
        return LoadedText(("x",)) if len(read) == 1 else problem("empty")

    monkeypatch.setattr(pdf, "read_in_child", once)
    texts = PdfTexts(30)
    for _ in range(3):
        assert await texts.read(encoded(b"one")) == LoadedText(("x",))
        assert await texts.read(encoded(b"two")) == problem("empty")
    assert read == [b"one", b"two"]
    texts.close()
    texts.close()


async def test_what_is_not_base64_is_said():
    """Also where nothing else of the request has looked at it."""
    texts = PdfTexts(30)
    assert await texts.read("%%% \ud800") == problem("base64")
    texts.close()


def test_the_limits_are_set_where_the_system_has_them(monkeypatch):
    """And a system without them is no reason to read no PDF."""
    resource = pytest.importorskip("resource")
    calls = []

    def setrlimit(kind, value):
        calls.append((kind, value))
        raise ValueError

    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    pdf_child.bound(5)
    assert calls == [
        (resource.RLIMIT_AS, (pdf_child.MEMORY_BYTES, pdf_child.MEMORY_BYTES)),
        (resource.RLIMIT_CPU, (5, 5)),
    ]
    monkeypatch.setitem(__import__("sys").modules, "resource", None)
    pdf_child.bound(5)
    assert len(calls) == 2


def test_a_pdf_without_compression_is_read():
    """The builder of these tests makes what a reader takes."""
    assert read_in_child(pdf_of(shown("plain")), 30) == LoadedText(("plain",))
