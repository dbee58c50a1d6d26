"""What a translation may cost: signatures that inflate, charsets, names for header and log, edits."""

import tracemalloc
from functools import partial
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.dropped import Dropped, dropped_header, dropped_text
from llama_stack_provider_messages.translation.messages_to_chat import (
    LoadedText,
    Profile,
    ThinkingSigner,
    TranslationContext,
    classify_download,
    translate_request,
)
from llama_stack_provider_messages.translation.messages_to_chat import thinking_signature as signatures
from llama_stack_provider_messages.translation.messages_to_chat.request.context_edits import edited_messages
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import (
    MAX_SIGNED_BYTES,
    SignedReasoning,
)
from support.attacks import USER, cpu_bound, cpu_of, inflating, repeated, thinking

SINGLE_BYTE_CHARSETS = [
    "latin_1", *(f"iso8859_{part}" for part in range(2, 17) if part != 12), "koi8_r", "koi8_u", "mac_roman", "tis_620",
    *(f"cp{page}" for page in (437, 850, 852, 866, 874, *range(1250, 1259))),
]  # fmt: skip
OTHER_CHARSETS = [
    "ascii", "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be",
    "shift_jis", "cp932", "euc_jp", "iso2022_jp", "gb2312", "gbk", "gb18030", "hz", "big5", "cp950", "euc_kr", "cp949",
    "iso2022_kr", "johab",
]  # fmt: skip
SIGNER = ThinkingSigner(b"key", "a/m")
PROFILE = Profile(reasoning_field="reasoning_content")


def request(**fields):
    return CreateMessageRequest.model_validate({"model": "m", "max_tokens": 9, "messages": [USER]} | fields)


class TestSize:
    """Long conversations; request bodies are limited before they are translated, see the API's limits.py."""

    @pytest.mark.parametrize("call_ids", ["any", "nine"])
    def test_the_cost_of_a_conversation_grows_with_its_length(self, call_ids):
        """With calls and results whose ids repeat in every turn, as some servers count them; 20 000 turns work."""
        turn = [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_0", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_0", "content": "x"}]},
        ]
        spent = []
        for turns in (2_500, 10_000):
            asked = request(messages=[USER, *turn * turns])
            ctx = TranslationContext(Profile(call_ids=call_ids))
            seconds, chat = cpu_of(partial(translate_request, asked, ctx))
            spent.append(seconds)
            assert len(chat.fields["messages"]) == 2 * turns + 1
        assert spent[1] < 10 * spent[0]

    def test_many_text_blocks_are_one_message(self):
        """They are joined."""
        asked = request(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}] * 50_000}])
        assert len(translate_request(asked, TranslationContext(PROFILE)).fields["messages"]) == 1


def refusal_of(messages, cpu_seconds):
    """Return the error message for a history, and the peak of the memory in bytes."""
    asked = request(messages=messages)
    tracemalloc.start()
    with cpu_bound(cpu_seconds), pytest.raises(InvalidRequestError) as refusal:
        translate_request(asked, TranslationContext(PROFILE, signer=SIGNER))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return refusal.value.message, peak


class TestSignatures:
    """Budget of the signatures of a request."""

    def test_an_echoed_signature_inflates_no_further_than_the_budget(self):
        """Hundreds of kilobytes of them took 1.4 GB."""
        message, peak = refusal_of(thinking(7, 60, SIGNER), cpu_seconds=2)
        assert peak < 150_000_000
        assert message == (
            "messages.5.content.0.signature: the signatures up to this block hold more than 16 MB of thinking; remove "
            "the thinking of earlier turns"
        )

    def test_reasoning_of_the_maximum_size_comes_back_complete(self):
        """The largest that is signed, and a second one in the same request."""
        text = Random(1).randbytes(MAX_SIGNED_BYTES // 2).hex()[1:]
        block = {"type": "thinking", "thinking": "", "signature": SIGNER.sign(text)}
        answers = [{"role": "assistant", "content": [block, {"type": "text", "text": "x"}]}, USER] * 2
        ctx = TranslationContext(PROFILE, signer=SIGNER)
        asked = request(messages=[USER, *answers])
        for again in (ctx, ctx.fresh(), ctx.fresh()):  # each translation has the whole budget
            messages = translate_request(asked, again).fields["messages"]
            assert [message["reasoning_content"] == text for message in messages[1::2]] == [True, True]

    def test_reasoning_above_the_maximum_size_is_not_signed(self):
        """The client shows the text and sends it back, as with any unsigned thinking."""
        text = Random(1).randbytes(MAX_SIGNED_BYTES // 2).hex()
        assert SIGNER.sign(text) == ""
        assert SIGNER.sign("", [{"type": "t", "text": text}]) == ""

    def test_reasoning_that_deflates_more_than_a_hundredfold_is_not_signed(self):
        """A model that repeats itself without end; short texts are signed in any case."""
        assert SIGNER.sign("hm " * 100_000) == ""
        assert SIGNER.sign("", [{"type": "t", "text": "hm " * 100_000}]) == ""
        assert SIGNER.open(SIGNER.sign("x" * 4_000)) == SignedReasoning("x" * 4_000)

    @given(st.lists(st.tuples(st.sampled_from(["hm ", "a", "\u4e2d", "xyz 123 "]), st.integers(0, 20_000)), max_size=6))
    @settings(max_examples=30)
    def test_every_signature_made_here_is_accepted(self, repetitions):
        """Whatever the text is."""
        text = "".join(piece * times for piece, times in repetitions)
        if signature := SIGNER.sign(text):
            assert SIGNER.open(signature) == SignedReasoning(text)

    def test_a_signature_that_inflates_a_thousandfold_is_refused_alone(self):
        """It was made elsewhere with the same key: 60 of them took 0.4 GB and more."""
        block = {"type": "thinking", "thinking": "hm", "signature": inflating(7, SIGNER.key)}
        message, peak = refusal_of(repeated(block, 60), cpu_seconds=0.5)
        assert peak < 10_000_000
        assert message == (
            "messages.1.content.0.signature: this signature holds more thinking than this server signs; "
            "remove the block"
        )

    def test_thinking_that_an_edit_clears_costs_nothing(self):
        """The remedy is within reach of a client that edits its history."""
        edits = {"edits": [{"type": "clear_thinking_20251015"}]}
        translate_request(
            request(messages=thinking(7, 60, SIGNER), context_management=edits),
            TranslationContext(PROFILE, signer=SIGNER),
        )

    def test_foreign_signatures_take_nothing_of_the_budget(self):
        """They are not inflated at all."""
        foreign = thinking(7, 60, ThinkingSigner(b"other"))
        translate_request(request(messages=foreign), TranslationContext(PROFILE, signer=SIGNER))

    def test_redacted_data_has_the_same_budget(self, monkeypatch):
        """It is named by its own field."""
        monkeypatch.setattr(signatures.InflateBudget.__init__, "__defaults__", (10,))
        block = {"type": "redacted_thinking", "data": SIGNER.sign("x" * 20)}
        asked = request(messages=[USER, {"role": "assistant", "content": [block, {"type": "text", "text": "x"}]}, USER])
        with pytest.raises(InvalidRequestError, match=r"^messages\.1\.content\.0\.data: "):
            translate_request(asked, TranslationContext(PROFILE, signer=SIGNER))

    def test_one_signature_alone_has_a_budget_of_its_own(self):
        assert SIGNER.open(SIGNER.sign("hm")) == SignedReasoning("hm")


class TestCharsets:
    """Texts fetched from addresses."""

    @pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "utf-7", "unicode_escape", "zip", "x\0"])
    def test_other_charsets_are_read_as_utf_8(self, charset):
        """Punycode took 5 s for 400 kB, idna was a 500."""
        raw = b"x-" + b"a" * 400_000
        with cpu_bound(2.5):
            loaded = classify_download("document", "text/plain", charset, raw)
        assert loaded == LoadedText((raw.decode(),), paged=False)

    @pytest.mark.parametrize("charset", [*SINGLE_BYTE_CHARSETS, *OTHER_CHARSETS])
    def test_every_charset_reads_any_bytes(self, charset):
        """In linear time and without an error."""
        raw = Random(1).randbytes(100_000) + b"\x1b$B" + b"\xff~{" * 50_000
        with cpu_bound(2):
            loaded = classify_download("document", "text/plain", charset, raw)
        assert loaded.pages == (raw.decode(charset, errors="replace"),)

    @pytest.mark.parametrize("charset", SINGLE_BYTE_CHARSETS)
    def test_undefined_bytes_cost_no_more_than_others(self, charset):
        """A megabyte of them took half a second."""
        with cpu_bound(0.5):
            classify_download("document", "text/plain", charset, b"\xff\x81\xd2" * 700_000)

    @pytest.mark.parametrize(
        ("charset", "text"),
        [
            ("ISO-8859-1", "\xfc"),
            ("windows-1252", "\xfc"),
            ("Latin1", "\xfc"),
            ("koi8-r", "\u042d"),
            ("US-ASCII", "\ufffd"),
        ],
    )
    def test_charset_names_of_the_web_are_known(self, charset, text):
        assert classify_download("document", "text/plain", charset, b"\xfc").pages == (text,)

    @pytest.mark.parametrize(
        ("charset", "raw"),
        [
            ("Shift_JIS", b"\x93\xfa"),
            ("EUC-JP", b"\xc6\xfc"),
            ("gb2312", b"\xc8\xd5"),
            ("Big5", b"\xa4\xe9"),
            ("utf-16", b"\xff\xfe\xe5\x65"),
        ],
    )
    def test_multi_byte_charsets_are_known(self, charset, raw):
        assert classify_download("document", "text/plain", charset, raw).pages == ("\u65e5",)

    @pytest.mark.parametrize(
        ("charset", "raw", "text"),
        [
            ("tis-620", b"\xe4\xb7\xc2", "\u0e44\u0e17\u0e22"),
            ("ISO-2022-KR", b"\x1b$)C\x0eGQ1[\x0f!", "\ud55c\uae00!"),
            ("johab", b"\xd0\x65\x8b\x69", "\ud55c\uae00"),
        ],
    )
    def test_older_charsets_of_thailand_and_korea_are_known(self, charset, raw, text):
        assert classify_download("document", "text/plain", charset, raw).pages == (text,)

    @pytest.mark.parametrize("charset", OTHER_CHARSETS)
    @given(raw=st.lists(st.sampled_from([b"\x1b", b"$", b")", b"C", b"\x0e", b"\x0f", b"\n", b"~{"]) | st.binary()))
    @settings(max_examples=30)
    def test_shifts_and_escapes_in_any_order_are_read(self, charset, raw):
        """Bytes that mean nothing are replaced, never an error."""
        text = b"text" + b"".join(raw)
        assume(b"%PDF-" not in text)
        loaded = classify_download("document", "text/plain", charset, text)
        assert isinstance(loaded, LoadedText)


class TestNames:
    """Paths for the header and the log."""

    def test_paths_beyond_the_limit_are_not_rendered(self):
        """300 000 of them took seconds."""
        dropped = [Dropped(f"field \u4e2d {number}" * 10, "x", "unknown") for number in range(300_000)]
        with cpu_bound(2.5):
            header, text = dropped_header(dropped)["x-messages-dropped"], dropped_text(dropped)
        assert header.endswith(" more")
        assert text.endswith(" more")
        assert len(header) < 1_100
        assert len(text) < 4_100


def test_names_of_tools_to_clear_are_looked_up_at_once():
    """A list of 40 000 names was searched for each of 4 900 calls."""
    calls = [{"type": "tool_use", "id": f"c{at}", "name": f"t{at}", "input": {"a": 1}} for at in range(4_900)]
    results = [{"type": "tool_result", "tool_use_id": f"c{at}", "content": "x"} for at in range(4_900)]
    edit = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "tool_uses", "value": 0},
        "clear_tool_inputs": [f"other{at}" for at in range(40_000)],
    }
    messages = [USER, {"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    asked = request(messages=messages, context_management={"edits": [edit]})
    with cpu_bound(4):
        translate_request(asked, TranslationContext(Profile()))


def test_eight_edits_of_a_long_conversation_measure_it_once():
    """Each of them measured the whole conversation: 0.25 MB took 8 s, 1.2 MB minutes."""
    call = {"type": "tool_use", "name": "f", "input": {"numbers": list(range(2_000))}}
    turns = [
        [
            {"role": "assistant", "content": [call | {"id": f"c{at}"}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"c{at}", "content": "x" * 500}]},
        ]
        for at in range(200)
    ]
    history = [USER, *(message for turn in turns for message in turn)]
    edits = [
        {"type": "clear_tool_uses_20250919", "trigger": {"type": "input_tokens", "value": 1}, "keep": kept}
        for kept in ({"type": "tool_uses", "value": 200 - number} for number in range(8))
    ]
    spent = []
    for chosen in (edits[:1], edits):
        asked = request(messages=history, context_management={"edits": chosen})
        ctx = TranslationContext(Profile())
        seconds, messages = cpu_of(partial(edited_messages, asked, ctx))
        spent.append(seconds)
        assert len(messages) == 401
        assert len(ctx.edits) == len(chosen) - 1
    assert spent[1] < 4 * spent[0]
