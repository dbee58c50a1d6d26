"""The client responses that the recorded suites save."""

import pytest

from support.suites import ClientResponse, ClientResponses


def test_the_key_of_the_upstream_is_saved_as_stars(tmp_path, monkeypatch):
    """The key is saved as the same number of stars, as the tape plays it."""
    monkeypatch.setenv("TAPE_API_KEY", "house-rocket-77")
    responses = ClientResponses(tmp_path / "a.client.jsonl", compares=False)
    responses.note(ClientResponse(200, ['{"text":"You sent house-rocket-77"}']))
    responses.save()
    assert responses.path.read_text() == '{"status": 200}\n{"text":"You sent ' + "*" * 15 + '"}\n'


def test_what_looks_like_a_credential_is_not_kept(tmp_path, monkeypatch):
    """Whosever it is."""
    monkeypatch.delenv("TAPE_API_KEY", raising=False)
    responses = ClientResponses(tmp_path / "a.client.jsonl", compares=False)
    responses.note(ClientResponse(200, ['{"text":"sk-ant-api03-AAAABBBBCCCCDDDD"}']))
    with pytest.raises(AssertionError, match="would hold a credential"):
        responses.save()
    assert not responses.path.exists()
