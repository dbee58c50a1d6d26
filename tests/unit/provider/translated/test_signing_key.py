"""The key that signs thinking blocks."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_stack.core.utils.config import redact_sensitive_fields
from pydantic import SecretStr

from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.translated import signing_key as signing
from llama_stack_provider_messages.translated.signing_key import signing_key


@pytest.fixture
def warnings(monkeypatch):
    seen = []
    monkeypatch.setattr(signing.logger, "warning", lambda *args, **fields: seen.append((args, fields)))
    return seen


def test_a_configured_secret_is_the_key(tmp_path):
    """No file is written."""
    assert signing_key("hush", tmp_path / "key") == b"hush"
    assert not (tmp_path / "key").exists()


def test_a_key_is_generated_once_and_kept(tmp_path, warnings):
    """It survives a restart, and only its owner can read it."""
    path = tmp_path / "new" / "key"
    first = signing_key(None, path)
    assert signing_key("", path) == first
    assert len(first) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["key"]
    assert not warnings


def test_workers_that_start_at_the_same_time_have_the_same_key(tmp_path):
    """One of them creates the file, the others read it."""
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        assert len({*pool.map(lambda _: signing_key(None, path), range(32))}) == 1


def test_a_file_that_another_process_creates_first_is_read(tmp_path, monkeypatch):
    """It appears between the check and the attempt to create it."""
    path = tmp_path / "key"
    won = signing_key(None, path)
    monkeypatch.setattr(type(path), "exists", lambda _: False)
    assert signing_key(None, path) == won


@pytest.mark.parametrize("content", [b"", b"abcd", b"no hex", b"\xff\xfe"])
def test_an_invalid_file_is_replaced_by_a_temporary_key(tmp_path, warnings, content):
    """Each process has its own and warns; no key is logged, and the file is not changed."""
    path = tmp_path / "key"
    path.write_bytes(content)
    keys = {signing_key(None, path), signing_key(None, path)}
    assert len(keys) == 2
    assert len(warnings) == 2
    assert not any(key.hex() in str(warnings) for key in keys)
    assert path.read_bytes() == content


def test_a_folder_that_is_not_writable_does_not_prevent_the_start(tmp_path, warnings):
    """One warning says what to do."""
    (tmp_path / "file").write_text("")
    assert len(signing_key(None, tmp_path / "file" / "key")) == 32
    assert "signing_secret" in warnings[0][0][0]


@pytest.mark.parametrize("value", [None, ""])
def test_an_unset_environment_variable_is_not_a_secret(value):
    """The platform replaces it by one of these values."""
    assert MessagesConfig(signing_secret=value).signing_secret is None


def test_the_secret_is_not_logged():
    """Neither the text of our configuration nor the one that the platform logs at its start contains it."""
    assert "hush" not in repr(MessagesConfig(signing_secret=SecretStr("hush")))
    logged = redact_sensitive_fields(MessagesConfig.sample_run_config() | {"signing_secret": "hush"})
    assert "hush" not in str(logged)
