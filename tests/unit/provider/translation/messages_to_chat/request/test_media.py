"""Images and documents: the parts for the backend, errors with their path, and notes to the model."""

import base64

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.inline_data import data_url, media_type_of, plain_name, read_base64
from llama_stack_provider_messages.translation.messages_to_chat import (
    Failed,
    LoadedFile,
    LoadedText,
    NeededMedia,
    Policy,
    Profile,
    TranslationContext,
    classify_download,
    needed_media,
    profile_for,
    translate_request,
)
from llama_stack_provider_messages.translation.messages_to_chat.request.media import filename
from support.attacks import cpu_bound

PNG = b"\x89PNG\r\n\x1a\n1234"
PDF = b"%PDF-1.4\n%%EOF\n"
FILES = Profile(documents="file")
FETCH = Policy(media_urls="fetch")
FIRST = "messages.0.content.0"


def b64(data):
    return base64.b64encode(data).decode()


def inline(data, media_type="image/png"):
    return {"type": "base64", "media_type": media_type, "data": data if isinstance(data, str) else b64(data)}


def url(address):
    return {"type": "url", "url": address}


def image(source, **more):
    return {"type": "image", "source": source, **more}


def document(source, **more):
    return {"type": "document", "source": source, **more}


PDF_DOCUMENT = document(inline(PDF, "application/pdf"))


def request(*blocks):
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": list(blocks)}]}
    return CreateMessageRequest.model_validate(body)


def translated(*blocks, profile=FILES, policy=Policy(), media=None):  # noqa: B008 - immutable
    return translate_request(request(*blocks), TranslationContext(profile, policy, media or {}))


def parts(*blocks, **how):
    """Return the parts of the user message these blocks become, beside a text that keeps them a list."""
    content = translated(*blocks, **how).fields["messages"][0]["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def refusal(*blocks, **how):
    with pytest.raises(InvalidRequestError) as caught:
        translated(*blocks, **how)
    return caught.value.message


def in_result(*blocks, **how):
    """Return the text of the tool message these blocks become, what follows it, and what was noted."""
    turns = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": list(blocks)}]},
    ]
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}, *turns]}
    ctx = TranslationContext(how.get("profile", FILES), how.get("policy", Policy()), how.get("media", {}))
    done = translate_request(CreateMessageRequest.model_validate(body), ctx)
    return done.fields["messages"][2]["content"], done.fields["messages"][3:], done.dropped


class TestInlineData:
    @pytest.mark.parametrize(
        "data",
        [
            "iVBO\nRw0K\r\n Gg==",
            "iVBORw0KGg",
            "iVBORw0KGg=",
            "data:image/png;base64,iVBORw0KGg==",
            " data:;base64,iVBORw0KGg",
        ],
        ids=["line breaks", "no padding", "half the padding", "data URL", "data URL without padding"],
    )
    def test_base64_is_repaired(self, data):
        """Clients send many forms, backends accept one."""
        assert read_base64(data) == ("iVBORw0KGg==", b"\x89PNG\r\n\x1a")

    def test_the_url_safe_alphabet_is_read(self):
        assert read_base64("_-8=") == ("/+8=", b"\xff\xef")

    @pytest.mark.parametrize("data", ["", " ", "x", "%%%%", "iVBO=Rw0", "gr\xfcn", "\ud800"])
    def test_invalid_base64_is_none(self, data):
        assert read_base64(data) is None

    def test_a_data_url_has_a_type_and_data(self):
        """Other data URLs are not read."""
        assert data_url("DATA:image/png;charset=x;base64,AAAA") == ("image/png", "AAAA")
        assert data_url("data:text/plain,hello") is None
        assert data_url("https://a/b") is None
        assert data_url("data:" + "a" * 1_000_000) is None

    @pytest.mark.parametrize(
        ("raw", "kind"),
        [
            (PNG, "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF87a..", "image/gif"),
            (b"GIF89a..", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
            (b"RIFF\0\0\0\0????", ""),
            (b"BM1234", "image/bmp"),
            (b"II*\0....", "image/tiff"),
            (b"MM\0*....", "image/tiff"),
            (b"\n <svg xmlns", "image/svg+xml"),
            (PDF, "application/pdf"),
            (b" \n" + PDF, "application/pdf"),
            (b"x" * 2000 + PDF, ""),
            (b"hello", ""),
        ],
    )
    def test_the_media_type_is_detected_from_the_bytes(self, raw, kind):
        assert media_type_of(raw) == kind

    def test_media_types_of_clients_are_safe_for_a_header(self):
        assert plain_name("image/svg+xml\r\nx: \xe9") == "image/svg+xml??x???"


class TestImages:
    @pytest.mark.parametrize(
        ("source", "kind"),
        [
            (inline(PNG, "image/jpeg"), "image/png"),
            (inline(PNG, "application/octet-stream"), "image/png"),
            (inline(b"12345", "image/jpg"), "image/jpeg"),
            (inline(b"12345", "IMAGE/WEBP"), "image/webp"),
            (url(f"data:image/gif;base64,{b64(PNG)}"), "image/png"),
        ],
    )
    def test_the_bytes_decide_about_the_media_type(self, source, kind):
        """The declared type is used only if the bytes are not recognized."""
        assert parts(image(source))[0]["image_url"]["url"].startswith(f"data:{kind};base64,")

    @pytest.mark.parametrize(
        ("source", "text"),
        [
            (inline("%%%"), f"{FIRST}.source.data: this is not valid base64; send "),
            (inline(b"BM1234"), f"{FIRST}.source.media_type: 'image/bmp' is not supported; send a png, jpeg, gif"),
            (inline(b"12345", "image/svg+xml"), f"{FIRST}.source.media_type: 'image/svg+xml' is not supported; "),
            (inline(PDF), f"{FIRST}.source.media_type: this is a PDF; send it as a document"),
            (url("file:///etc/passwd"), f"{FIRST}.source.url: the URL must begin with https:// or http://"),
            ({"type": "file", "file_id": "f"}, f"{FIRST}.source: sources of type 'file' are not supported, this"),
            ({"type": "new"}, f"{FIRST}.source: sources of type 'new' are not supported; send the bytes in base64"),
        ],
    )  # fmt: skip
    def test_an_unsupported_image_is_rejected_with_its_path(self, source, text):
        """The error says what to do instead; in a tool result the model gets a note, and the tool loop continues."""
        assert refusal(image(source)).startswith(text)
        said, moved, dropped = in_result(image(source))
        assert said.startswith("[image: this model cannot read it: ")
        assert moved == []
        assert [entry.path for entry in dropped] == ["messages.2.content.0.content.0"]

    def test_image_urls_are_passed_on(self):
        """Unchanged: the backend fetches them."""
        assert parts(image(url(" https://a/b.png ")))[0]["image_url"]["url"] == "https://a/b.png"

    def test_urls_are_rejected_if_the_policy_says_so(self):
        how = {"policy": Policy(media_urls="reject")}
        assert refusal(image(url("https://a/b")), **how).startswith(
            f"{FIRST}.source.url: this server does not accept URLs"
        )
        assert in_result(image(url("https://a/b")), **how)[0] == (
            "[image: this model cannot read it: this server does not accept URLs]"
        )

    def test_fetched_images_are_sent_as_data_urls(self):
        done = parts(image(url("https://a/b")), policy=FETCH, media={FIRST: LoadedFile("image/png", "AAAA")})
        assert done[0]["image_url"]["url"] == "data:image/png;base64,AAAA"

    @pytest.mark.parametrize(
        ("media", "text"),
        [
            ({}, "the URL was not loaded; "),
            ({FIRST: Failed("gone; send it")}, "gone; send it"),
            ({FIRST: LoadedText(("x",))}, "this is not an image; "),
        ],
    )
    def test_an_image_that_was_not_loaded_is_rejected(self, media, text):
        said = refusal(image(url("https://a/b")), policy=FETCH, media=media)
        assert said.startswith(f"{FIRST}.source.url: {text}")

    @pytest.mark.parametrize("place", [translated, in_result])
    def test_a_model_without_vision_gets_a_note_for_an_image(self, place):
        """With the placeholder setting, in a user message and in a tool result."""
        done = place(image(inline(PNG)), profile=Profile(images="placeholder"))
        text, dropped = (
            (done.fields["messages"][0]["content"], done.dropped) if place is translated else (done[0], done[2])
        )
        assert text == "[image: this model cannot read it]"
        assert [entry.feature for entry in dropped] == ["image"]

    def test_an_image_is_rejected_if_the_profile_says_so(self):
        """Whether it is valid does not matter."""
        how = {"profile": Profile(images="reject")}
        assert (
            refusal(image(inline("%%%")), **how) == f"{FIRST}: this model reads no images; describe the image in text"
        )
        assert in_result(image(inline("%%%")), **how)[0] == "[image: this model cannot read it]"

    def test_rejecting_oversized_images_is_dropped_as_not_guaranteed(self):
        """Only the backend knows which images it scales down."""
        kinds = {"error": ["oversized_image"], "downsize": [], None: []}
        for value, noted in kinds.items():
            done = translated(image(inline(PNG), transformations={"oversized_image": value}))
            assert [entry.feature for entry in done.dropped] == noted


class TestDocuments:
    def test_a_text_keeps_its_title_and_context(self):
        source = {"type": "text", "media_type": "text/plain", "data": "d"}
        said = parts(document(source, title='A "b"', context="c\nd"))[0]["text"]
        assert said == '<document title="A \\"b\\"" context="c\\nd">\nd\n</document>'

    def test_nested_content_is_flattened_in_place(self):
        """Texts become one text, images parts between them."""
        text = {"type": "text", "text": "a"}
        content = [text, text, image(inline(PNG)), text]
        done = parts(document({"type": "content", "content": content}), {"type": "text", "text": "behind"})
        assert [part.get("text", part["type"]) for part in done] == [
            "<document>\na\na", "image_url", "a\n</document>", "behind",
        ]  # fmt: skip
        assert parts(document({"type": "content", "content": "a"}))[0]["text"] == "<document>\na\n</document>"

    def test_other_blocks_inside_a_document_are_rejected(self):
        said = refusal(document({"type": "content", "content": [{"type": "new"}]}))
        assert said.startswith(f"{FIRST}.source.content.0: blocks of type 'new' are not supported")

    def test_a_bad_image_inside_content_is_named_by_its_path(self):
        """In a tool result it alone is left out."""
        block = document({"type": "content", "content": [{"type": "text", "text": "a"}, image(inline("%"))]})
        assert refusal(block).startswith(f"{FIRST}.source.content.1.source.data: ")
        said, _, dropped = in_result(block)
        assert said.startswith("<document>\na\n[image: this model cannot read it: ")
        assert [entry.path for entry in dropped] == ["messages.2.content.0.content.0.source.content.1"]

    @pytest.mark.parametrize("source", [inline(PDF, "application/pdf"), url(f"data:application/pdf;base64,{b64(PDF)}")])
    def test_a_pdf_is_a_file_part_if_the_backend_reads_pdfs(self, source):
        """Without a title there are no tags."""
        file = {"filename": "document.pdf", "file_data": f"data:application/pdf;base64,{b64(PDF)}"}
        assert parts(document(source)) == [{"type": "file", "file": file}]

    def test_a_file_with_a_title_is_between_its_tags(self):
        done = parts(document(inline(PDF, "application/pdf"), title="T", context="C"))
        assert [part.get("text", part["type"]) for part in done] == [
            '<document title="T" context="C">', "file", "</document>",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("title", "name"),
        [
            (None, "document.pdf"),
            ("", "document.pdf"),
            ("..", "document.pdf"),
            ("../../etc/passwd", "etc_passwd.pdf"),
            ("a\r\nb\0.PDF", "a_b_.PDF"),
            ("R\xe9sum\xe9 (2)", "R\xe9sum\xe9 (2).pdf"),
            ("x" * 300, "x" * 100 + ".pdf"),
        ],
    )
    def test_the_name_of_a_file_is_its_title_in_safe_characters(self, title, name):
        assert filename(title) == name

    def test_a_pdf_becomes_text_page_by_page_for_other_backends(self):
        """The loss of images and layout is logged."""
        done = translated(PDF_DOCUMENT, profile=Profile(), media={FIRST: LoadedText(("a", "", "b"))})
        assert (
            done.fields["messages"][0]["content"] == "<document>\n[page 1]\na\n\n[page 2]\n\n[page 3]\nb\n</document>"
        )
        assert [(entry.path, entry.feature) for entry in done.dropped] == [(FIRST, "document")]

    def test_text_from_a_url_has_no_page_numbers(self):
        done = translated(document(url("https://a")), policy=FETCH, media={FIRST: LoadedText(("a",), paged=False)})
        assert done.fields["messages"][0]["content"] == "<document>\na\n</document>"
        assert done.dropped == ()

    def test_text_in_base64_is_read(self):
        """The API has no such source, clients send it."""
        assert parts(document(inline(b"gr\xc3\xbcn", "text/plain")))[0]["text"] == "<document>\ngr\xfcn\n</document>"

    @pytest.mark.parametrize(
        ("source", "how", "text"),
        [
            (inline("%%%", "application/pdf"), {}, ".source.data: this is not valid base64; send "),
            (inline(b"hello", "application/pdf"), {}, ".source.media_type: this is not a PDF; send "),
            (inline(PNG, "application/pdf"), {}, ".source.media_type: this is an image; send "),
            (inline(b"PK", "application/zip"), {}, ".source.media_type: documents of type 'application/zip' are not "),
            (inline(PDF), {"profile": Profile()}, ".source: the text of the PDF was not extracted; send "),
            (inline(PDF), {"profile": Profile(documents="reject")}, ": this model reads no PDF documents; send "),
            (inline(PDF), {"profile": Profile(), "media": Failed("encrypted; send x")}, ".source: encrypted; send x"),
            (url("https://a"), {}, ".source.url: the backend does not accept URLs of documents; send "),
            (url("https://a"), {"policy": FETCH}, ".source: the URL was not loaded; send "),
            (
                url("https://a"),
                {"policy": Policy(media_urls="reject")},
                ".source.url: this server does not accept URLs; ",
            ),
            (url("ftp://a"), {"policy": FETCH}, ".source.url: the URL must begin with https:// or http://"),
            ({"type": "file", "file_id": "f"}, {}, ".source: sources of type 'file' are not supported, this server "),
            ({"type": "new"}, {}, ".source: sources of type 'new' are not supported; send the bytes in base64"),
        ],
    )
    def test_an_unsupported_document_is_rejected_with_its_path(self, source, how, text):
        """The error says what to do instead; in a tool result the model gets a note, and the tool loop continues."""
        media = how.get("media")
        place = "messages.2.content.0.content.0"
        assert refusal(document(source), **how | {"media": {FIRST: media} if media else {}}).startswith(FIRST + text)
        said, _, dropped = in_result(document(source), **how | {"media": {place: media} if media else {}})
        assert said.startswith("[document: this model cannot read it: ")
        assert "send" not in said
        assert [(entry.path, entry.feature) for entry in dropped] == [(place, "document")]

    def test_a_document_url_error_names_the_setting(self):
        """media_urls: fetch."""
        assert "media_urls: fetch" in refusal(document(url("https://a")))

    def test_a_document_of_a_result_is_named_by_its_title(self):
        said, _, _ = in_result(document({"type": "file", "file_id": "f"}, title="Plan"))
        assert said.startswith("[document Plan: this model cannot read it: ")

    def test_files_of_results_follow_in_a_user_message(self):
        """Numbered by kind, each under its mark; also where tool messages hold images."""
        said, behind, _ = in_result(PDF_DOCUMENT, image(inline(PNG)), PDF_DOCUMENT)
        marks = ["document 1 of tool result t", "image 1 of tool result t", "document 2 of tool result t"]
        assert said == "\n".join(f"[{mark}: see next message]" for mark in marks)
        assert [part.get("text", part["type"]) for part in behind[0]["content"]] == [
            f"[{marks[0]}]", "file", f"[{marks[1]}]", "image_url", f"[{marks[2]}]", "file",
        ]  # fmt: skip
        said, behind, _ = in_result(
            PDF_DOCUMENT, image(inline(PNG)), profile=Profile(documents="file", tool_images=True)
        )
        assert [part["type"] for part in said] == ["text", "image_url"]
        assert [part["type"] for part in behind[0]["content"]] == ["text", "file"]

    def test_a_document_of_the_assistant_is_text(self):
        """The API accepted it there until 2026; images and files are dropped."""
        source = {"type": "content", "content": [{"type": "text", "text": "a"}, image(inline(PNG))]}
        said = {"role": "assistant", "content": [document(source), {"type": "text", "text": "b"}, PDF_DOCUMENT]}
        messages = [{"role": "user", "content": "x"}, said, {"role": "user", "content": "y"}]
        asked = CreateMessageRequest.model_validate({"model": "m", "max_tokens": 1, "messages": messages})
        done = translate_request(asked, TranslationContext(FILES))
        mark = "[an image or file that cannot be shown here]"
        assert done.fields["messages"][1]["content"] == f"<document>\na\n{mark}\n</document>\n\nb\n\n{mark}"
        assert [entry.path for entry in done.dropped] == ["messages.1.content.0", "messages.1.content.2"]
        assert [one.path for one in needed_media(asked, TranslationContext(Profile()))] == ["messages.1.content.2"]

    def test_a_document_of_many_pieces_is_joined_once(self):
        """A hundred thousand pieces take no longer than one text of their size."""
        pieces = [{"type": "text", "text": "x" * 100}] * 100_000
        with cpu_bound(10):
            parts(document({"type": "content", "content": pieces}))

    @pytest.mark.parametrize(
        ("provider", "model", "documents"),
        [
            ("remote::openai", "gpt-4o", "file"),
            ("remote::openai", "gpt-4.1", "file"),
            ("remote::openai", "gpt-5.1", "file"),
            ("remote::openai", "gpt-4", "text"),
            ("remote::openai", "gpt-4-turbo", "text"),
            ("remote::openai", "o3-mini", "text"),
            ("remote::azure", "gpt-5", "text"),
            ("remote::vllm", "m", "text"),
            ("remote::other", "m", "text"),
        ],
    )
    def test_which_models_read_files(self, provider, model, documents):
        """OpenAI's models that see; Azure refuses the part, vLLM and others do not know it."""
        assert profile_for(provider, model).documents == documents


class TestClassifyDownload:
    @pytest.mark.parametrize(
        ("kind", "declared", "raw", "value"),
        [
            ("image", "text/html", PNG, LoadedFile("image/png", b64(PNG))),
            (
                "image",
                "text/html",
                b"<html>",
                Failed("'text/html' is not supported; send a png, jpeg, gif or webp image"),
            ),
            ("document", "text/html", PDF, LoadedFile("application/pdf", b64(PDF))),
            ("document", "text/html", b"<html>", LoadedText(("<html>",), paged=False)),
            ("document", "application/json", b"{}", LoadedText(("{}",), paged=False)),
            ("document", "image/png", PNG, Failed("this is an image; send it as an image")),
        ],
    )
    def test_the_bytes_decide(self, kind, declared, raw, value):
        """Servers declare wrong types for PDFs and images."""
        assert classify_download(kind, declared, "utf-8", raw) == value

    @pytest.mark.parametrize(("charset", "text"), [("latin-1", "\xfc"), ("utf-8", "\ufffd"), ("no-such", "\ufffd")])
    def test_text_is_decoded_with_the_servers_charset(self, charset, text):
        assert classify_download("document", "text/plain", charset, b"\xfc") == LoadedText((text,), paged=False)


class TestNeededMedia:
    def test_pdfs_are_needed_if_their_text_is_sent(self):
        """By the declared type or by the first bytes; not if the backend reads PDFs itself."""
        blocks = [
            PDF_DOCUMENT, document(inline(b"x", "application/pdf")), document(inline(PDF, "application/octet-stream")),
            document(inline(b"x", "text/plain")), document(url(f"data:application/pdf;base64,{b64(PDF)}")),
            document({"type": "text", "media_type": "text/plain", "data": "x"}), document(url("https://a")),
        ]  # fmt: skip
        found = needed_media(request(*blocks), TranslationContext(Profile()))
        assert [one.path.rpartition(".")[2] for one in found] == ["0", "1", "2", "4"]
        assert {one.data for one in found} == {b64(PDF), b64(b"x")}
        assert needed_media(request(*blocks), TranslationContext(FILES)) == []

    def test_urls_are_needed_if_the_policy_fetches_them(self):
        """Images only for a model with vision."""
        blocks = [image(url(" https://a ")), document(url("http://b")), image(url("ftp://c")), image(inline(PNG))]
        assert needed_media(request(*blocks), TranslationContext(FILES, FETCH)) == [
            NeededMedia(FIRST, "image", url="https://a"),
            NeededMedia("messages.0.content.1", "document", url="http://b"),
        ]
        assert len(needed_media(request(*blocks), TranslationContext(Profile(images="reject"), FETCH))) == 1

    def test_media_inside_results_and_documents_are_found(self):
        """At the paths that the translation looks up."""
        link = image(url("https://a"))
        inner = document({"type": "content", "content": [{"type": "text", "text": "x"}, link]})
        text = document({"type": "content", "content": "x"})
        result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}, inner, text]}
        empty = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
        found = needed_media(
            request({"type": "text", "text": "x"}, inner, result, empty), TranslationContext(FILES, FETCH)
        )
        assert [one.path for one in found] == [
            "messages.0.content.1.source.content.1",
            "messages.0.content.2.content.1.source.content.1",
        ]

    def test_a_pdf_that_a_server_fetched_is_read(self):
        """It becomes text in the history, like any page of a web_fetch."""
        page = {"type": "web_fetch_result", "url": "https://a", "content": PDF_DOCUMENT}
        block = {"type": "web_fetch_tool_result", "tool_use_id": "s", "content": page}
        failed = block | {"content": {"type": "web_fetch_tool_result_error", "error_code": "unavailable"}}
        turns = [{"role": "assistant", "content": [block, failed]}, {"role": "user", "content": "x"}]
        asked = CreateMessageRequest.model_validate({"model": "m", "max_tokens": 1, "messages": turns})
        (found,) = needed_media(asked, TranslationContext(Profile()))
        done = translate_request(asked, TranslationContext(Profile(), media={found.path: LoadedText(("Hello",))}))
        assert "[page 1]\nHello" in done.fields["messages"][0]["content"]

    def test_plain_messages_need_no_media(self):
        body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
        assert needed_media(CreateMessageRequest.model_validate(body), TranslationContext(Profile(), FETCH)) == []

    def test_media_before_a_compaction_are_not_loaded(self):
        """Otherwise dead URLs would be fetched with every turn, and use up the request's limit of media."""
        gone, kept = image(url("https://a.example/gone.png")), image(url("https://a.example/kept.png"))
        turns = [
            {"role": "user", "content": [gone]},
            {"role": "assistant", "content": [{"type": "compaction", "content": "so far"}]},
            {"role": "user", "content": [kept]},
        ]
        body = {"model": "m", "max_tokens": 1, "messages": turns}
        found = needed_media(CreateMessageRequest.model_validate(body), TranslationContext(Profile(), FETCH))
        assert [one.path for one in found] == ["messages.2.content.0"]
