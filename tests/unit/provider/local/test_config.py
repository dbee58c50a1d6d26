"""The configuration of the embedded engine: defaults, checks at the start of the stack, parameters of llama.cpp."""

import importlib.util
from pathlib import Path

import pytest
from pydantic import ValidationError

from llama_stack_provider_messages.local import get_provider_impl
from llama_stack_provider_messages.local.child import parameters
from llama_stack_provider_messages.local.config import BUNDLED_MODEL, LlamaCppConfig, engine_options
from llama_stack_provider_messages.local.provider import get_provider_spec

from .engine_double import xllamacpp as double


def test_the_bundled_model_is_the_default_and_exists():
    assert LlamaCppConfig().model_file == BUNDLED_MODEL
    assert BUNDLED_MODEL.read_bytes()[:4] == b"GGUF"


def test_an_unset_environment_variable_means_the_default():
    """`${env.MODEL_PATH:=}` becomes None."""
    config = LlamaCppConfig(model_path=None, mmproj_path=None)
    assert config.model_file == BUNDLED_MODEL
    assert config.mmproj_file is None


def test_the_home_directory_is_expanded():
    config = LlamaCppConfig(model_path="~/m.gguf", mmproj_path="~/p.gguf")
    assert config.model_file == Path.home() / "m.gguf"
    assert config.mmproj_file == Path.home() / "p.gguf"


def test_a_misspelled_field_is_an_error():
    with pytest.raises(ValidationError, match="model_pth"):
        LlamaCppConfig(model_pth="x")


def test_every_field_is_described():
    assert all(field.description for field in LlamaCppConfig.model_fields.values())


def test_the_sample_contains_only_existing_fields():
    assert set(LlamaCppConfig.sample_run_config()) <= set(LlamaCppConfig.model_fields)


def test_the_platform_can_load_what_the_spec_names():
    spec = get_provider_spec()
    assert spec.provider_type == "inline::llama-cpp"
    module, _, name = spec.config_class.rpartition(".")
    assert getattr(importlib.import_module(module), name) is LlamaCppConfig
    assert importlib.import_module(spec.module).get_provider_impl is get_provider_impl


async def start(**config):
    return await get_provider_impl(LlamaCppConfig(**config), {})


async def test_a_missing_model_file_fails_the_start_with_a_one_line_error(tmp_path):
    with pytest.raises(ValueError, match=r"model_path: no file at .*gone\.gguf; give the path of a GGUF file"):
        await start(model_path=str(tmp_path / "gone.gguf"))


async def test_a_folder_is_rejected_as_model_file(tmp_path):
    with pytest.raises(ValueError, match="model_path: no file at"):
        await start(model_path=str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"GG", b"<html>not found</html>"])
async def test_a_file_without_the_gguf_magic_is_rejected(tmp_path, content):
    (tmp_path / "page.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=r"page.gguf is not a GGUF file"):
        await start(model_path=str(tmp_path / "page.gguf"))


async def test_an_unreadable_model_file_is_rejected_with_the_reason(monkeypatch):
    def deny(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(ValueError, match=r"cannot read .*tiny.gguf: Permission denied"):
        await start()


async def test_a_missing_projector_file_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="mmproj_path: no file at"):
        await start(mmproj_path=str(tmp_path / "gone.gguf"))


async def test_a_missing_engine_package_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"pip install 'llama-stack-provider-messages\[local\]'"):
        await start()


def test_the_engine_listens_on_loopback_with_a_key_and_a_free_port():
    options = engine_options(LlamaCppConfig(context_size=0, parallel=3), "secret")
    assert (options["hostnames"], options["port"], options["api_keys"]) == (["127.0.0.1"], 0, ["secret"])
    assert (options["n_ctx"], options["n_parallel"], options["kv_unified"]) == (0, 3, True)


def test_a_small_model_gets_one_thread():
    assert engine_options(LlamaCppConfig(), "k")["cpuparams.n_threads"] == 1


def test_the_engine_chooses_the_threads_of_a_large_model(tmp_path):
    with (tmp_path / "large.gguf").open("wb") as file:
        file.truncate(2**27)
    assert "cpuparams.n_threads" not in engine_options(LlamaCppConfig(model_path=file.name), "k")


def test_configured_threads_take_precedence(tmp_path):
    options = engine_options(LlamaCppConfig(threads=3), "k")
    assert options["cpuparams.n_threads"] == options["cpuparams_batch.n_threads"] == 3


def test_a_projector_becomes_a_parameter(tmp_path):
    assert engine_options(LlamaCppConfig(mmproj_path="/p.gguf"), "k")["mmproj.path"] == "/p.gguf"


def test_dotted_options_set_nested_parameters():
    params = parameters(double, {"model.path": "m", "cpuparams.n_threads": 2, "port": 0})
    assert (params.model.path, params.cpuparams.n_threads, params.port) == ("m", 2, 0)


def test_every_option_exists_in_the_engine():
    """A renamed parameter would have no effect or fail at the start; the engine's own class has the valid names."""
    engine = pytest.importorskip("xllamacpp")
    config = LlamaCppConfig(threads=1, mmproj_path="/p.gguf")
    params = engine.CommonParams()
    for name in engine_options(config, "k"):
        target = params
        for part in name.split("."):
            assert hasattr(target, part), name
            target = getattr(target, part)
