"""``messages check``: a table of broken files and the line that is printed for each."""

import copy
import functools
import operator
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from llama_stack_provider_messages.cli.check import check
from llama_stack_provider_messages.cli.main import main
from llama_stack_provider_messages.cli.run_config import read_run_config
from support.stack_process import ROOT

APIS_DIR = str(ROOT / "distributions" / "apis.d")
GOOD = f"""
version: 2
distro_name: mine
apis: [inference, models, messages]
external_apis_dir: {APIS_DIR}
server:
  host: 127.0.0.1
providers:
  inference:
  - provider_id: vllm
    provider_type: remote::vllm
    config:
      base_url: http://127.0.0.1:8000/v1
  messages:
  - provider_id: builtin
    provider_type: inline::builtin
    config:
      default_model: vllm/qwen3
"""
LAUGHS = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
CONFIG = "providers.messages[0].config"

BROKEN = {
    "misspelt provider type": (
        ("remote::vllm", "remote::vlm"),
        "providers.inference[0].provider_type: remote::vlm is not a type of the platform; did you mean remote::vllm?",
    ),
    "misspelt provider type that a setting of its backend names": (
        (
            GOOD[GOOD.index("remote::vllm") :],
            GOOD[GOOD.index("remote::vllm") :].replace("remote::vllm", "remote::vlm")
            + "      backends: {remote::vllm: {like: vllm}}\n",
        ),
        "remote::vlm is not a type of the platform; did you mean remote::vllm?",
    ),
    "misspelt provider_id": (
        ("- provider_id: vllm", "- provider_idd: vllm"),
        "providers.inference[0].provider_idd: unknown field; did you mean provider_id?",
    ),
    "misspelt field of a provider": (
        ("    config:\n      base_url", "    confg:\n      base_url"),
        "providers.inference[0].confg: unknown field; did you mean config?",
    ),
    "misspelt setting of a provider": (
        ("base_url: http", "base_ur: http"),
        "providers.inference[0].config.base_ur: unknown field, which the platform ignores; did you mean base_url?",
    ),
    "setting that the provider calls otherwise": (
        ("base_url: http", "api_key: x\n      base_url: http"),
        "providers.inference[0].config.api_key: unknown field, which the platform ignores; did you mean api_token?",
    ),
    "misspelt setting inside of another": (
        ("base_url: http", "network: {tls: {verfy: no}}\n      base_url: http"),
        "providers.inference[0].config.network.tls.verfy: unknown field, which the platform ignores; did you mean",
    ),
    "setting that is not a number": (
        ("base_url: http", "max_tokens: many\n      base_url: http"),
        "providers.inference[0].config.max_tokens: many is not of the type int; correct the value",
    ),
    "misspelt field of the server": (
        ("  host: 127.0.0.1", "  host: 127.0.0.1\n  tls_cert: x"),
        "server.tls_cert: unknown field, which the platform ignores; did you mean tls_certfile?",
    ),
    "misspelt variable of the folder for APIs": (
        (APIS_DIR, "${env.MESSAGES_API_DIR}"),
        "external_apis_dir: the environment variable MESSAGES_API_DIR is not set; did you mean MESSAGES_APIS_DIR?",
    ),
    "misspelt apis": (("apis: [", "api: ["), "api: unknown field, which the platform ignores; did you mean apis?"),
    "misspelt logging": (
        ("version: 2", "version: 2\nloging: {}"),
        "loging: unknown field, which the platform ignores; did",
    ),
    "misspelt storage": (("version: 2", "version: 2\nstorge: {}"), "the platform ignores; did you mean storage?"),
    "misspelt folder for APIs": (("external_apis_dir", "external_api_dir"), "did you mean external_apis_dir?"),
    "misspelt API of providers": (
        ("  inference:", "  inferences:"),
        "providers.inferences: unknown API; did you mean inference?",
    ),
    "unknown API of providers": (
        ("providers:", "providers:\n  weather: []"),
        "providers.weather: unknown API; remove it, or declare it in a file of external_apis_dir",
    ),
    "address without a scheme": (
        ("http://127.0.0.1:8000/v1", "127.0.0.1:8000/v1"),
        "providers.inference[0].config.base_url: 127.0.0.1:8000/v1 has no scheme; write http://127.0.0.1:8000/v1 or",
    ),
    "no provider_id": (("- provider_id: vllm\n    prov", "- prov"), "providers.inference[0]: no provider_id; add one"),
    "apis that is not a list": (
        ("[inference, models, messages]", "null"),
        "apis: does not list messages; write `apis:",
    ),
    "port that is not a number": (
        ("host: 127.0.0.1", "port: abc\n  host: 127.0.0.1"),
        "server.port: abc is not a port of the platform; write a number from 1024 to 65535",
    ),
    "port that is too high": (
        ("host: 127.0.0.1", "port: 99999\n  host: 127.0.0.1"),
        "server.port: 99999 is not a port",
    ),
    "port that is negative": (("host: 127.0.0.1", "port: -1\n  host: 127.0.0.1"), "server.port: -1 is not a port"),
    "port below 1024": (("host: 127.0.0.1", "port: 80\n  host: 127.0.0.1"), "server.port: 80 is not a port"),
    "port that becomes invalid": (
        ("host: 127.0.0.1", "port: ${env.NO_SUCH_VARIABLE:=abc}\n  host: 127.0.0.1"),
        "server.port: abc is not a port",
    ),
    "alias inside of its anchor": (
        ("version: 2", "version: &a [*a]"),
        "line 2, column 14: not valid YAML: *a is inside of &a, which has no end; correct this line",
    ),
    "date that does not exist": (
        ("version: 2", "version: 2024-99-99"),
        "line 2, column 10: not valid YAML: 2024-99-99 is not a valid timestamp, so put it in quotes if it is text;",
    ),
    "value that does not fit its tag": (("version: 2", "version: !!bool x"), "not valid YAML: x is not a valid bool"),
    "number without end": (("version: 2", f"version: 0x{'f' * 5000}"), "is not a valid int"),
    "deep nesting": (("version: 2", "version: " + "[" * 20_000), "not valid YAML: nested more than 100 levels deep;"),
    "aliases of aliases": (
        ("version: 2", LAUGHS),
        "not valid YAML: more than 10000 values, counting those of each alias; correct this line",
    ),
    "merged aliases of aliases": (("version: 2", LAUGHS.replace("[", "{<<: [").replace("]", "]}")), "more than 10000"),
    "tab between values": (
        ("  host: 127", "\thost: 127"),
        "not valid YAML: found character '\\t' that cannot start any token; replace the tab by spaces",
    ),
    "tab in a continued line": (("config:\n      base", "config: a\n\tbase"), "; replace the tab by spaces"),
    "not YAML": (("version: 2", "version: [2"), "line 3, column 12: not valid YAML: expected ',' or ']'"),
    "no version": (("version: 2\n", ""), "version: missing; add `version: 2`"),
    "no name": (("distro_name: mine\n", ""), "distro_name: missing; add a name of your choice"),
    "no API": (("models, messages]", "models]"), "apis: does not list messages; write `apis:"),
    "unset variable": (
        ("http://127.0.0.1:8000/v1", "${env.NO_SUCH_VARIABLE}"),
        "NO_SUCH_VARIABLE is not set; set it, or write ${env.NO_SUCH_VARIABLE:=VALUE}",
    ),
    "variable of a shell": (
        ("http://127.0.0.1:8000/v1", "${VLLM_URL}"),
        "providers.inference[0].config.base_url: ${VLLM_URL} is not replaced; write ${env.NAME}",
    ),
    "reference that is not well-formed": (
        ("http://127.0.0.1:8000/v1", "a ${env.vllm_url} b"),
        "providers.inference[0].config.base_url: ${env.vllm_url} is not replaced; write ${env.NAME}",
    ),
    "no folder for APIs": (
        (f"external_apis_dir: {APIS_DIR}\n", ""),
        "external_apis_dir: missing, so that the stack does not know the Messages API; set it to the folder that",
    ),
    "folder for APIs of an unknown user": (
        (APIS_DIR, "~no_such_user"),
        "external_apis_dir: no folder at ~no_such_user; set it to the folder that",
    ),
    "folder for APIs with a name that is too long": ((APIS_DIR, "x" * 5000), "external_apis_dir: no folder at xxx"),
    "wrong folder for APIs": ((APIS_DIR, "/no/where"), "external_apis_dir: no folder at /no/where; set it to"),
    "folder without the API": ((APIS_DIR, str(ROOT / "scripts")), "declares the API `messages`; set it to the folder"),
    "misspelt field": (
        ("default_model: vllm", "defualt_model: vllm"),
        f"{CONFIG}.defualt_model: unknown field; did you mean default_model?",
    ),
    "misspelt field of the native lane": (
        ("default_model: vllm/qwen3", "native: {vllm: {mode: on, forward_header: [a]}}"),
        f"{CONFIG}.native.vllm.forward_header: unknown field; did you mean forward_headers?",
    ),
    "unknown preset of a backend": (
        ("default_model: vllm/qwen3", "backends: {vllm: {like: vlm}}"),
        f"{CONFIG}.backends.vllm.like: 'vlm' is not one of openai,",
    ),
    "misspelt field of a backend": (
        ("default_model: vllm/qwen3", "backends: {vllm: {thinkng: none}}"),
        f"{CONFIG}.backends.vllm.thinkng: unknown field; did you mean thinking?",
    ),
    "invalid value of a backend": (
        ("default_model: vllm/qwen3", "backends: {vllm: {images: maybe}}"),
        f"{CONFIG}.backends.vllm.images: Input should be 'parts', 'reject' or 'placeholder'; correct the value",
    ),
    "backend that is not a mapping": (
        ("default_model: vllm/qwen3", "backends: {vllm: none}"),
        f"{CONFIG}.backends.vllm: is not a mapping; write `name: value` lines",
    ),
    "invalid value": (
        ("default_model: vllm/qwen3", "ping_seconds: soon"),
        f"{CONFIG}.ping_seconds: Input should be a valid number",
    ),
    "native lane of an unknown provider": (
        ("default_model: vllm/qwen3", "native: {vlm: on}"),
        f"{CONFIG}.native.vlm: no inference provider has the id vlm; did you mean vllm?",
    ),
    "profile of an unknown provider": (
        ("default_model: vllm/qwen3", "backends: {other/model: {like: vllm}}"),
        f"{CONFIG}.backends.other/model: no inference provider has the id other; the providers are vllm",
    ),
    "alias of an unknown provider": (
        ("default_model: vllm/qwen3", "aliases: {claude-*: ollama/qwen3}"),
        f"{CONFIG}.aliases.claude-*: no inference provider has the id ollama; the providers are vllm",
    ),
    "default model of an unknown provider": (
        ("default_model: vllm/", "default_model: vlmm/"),
        f"{CONFIG}.default_model: no inference provider has the id vlmm; did you mean vllm?",
    ),
    "default model without a provider": (
        ("vllm/qwen3", "qwen3"),
        f"{CONFIG}.default_model: qwen3 has no provider; write PROVIDER_ID/qwen3, with one of vllm",
    ),
    "default model of a disabled provider": (
        (
            "- provider_id: vllm",
            "- {provider_id: other, provider_type: remote::vllm}\n  - provider_id: ${env.NO_SUCH_VARIABLE:+vllm}",
        ),
        f"{CONFIG}.default_model: vllm is disabled by its environment variable; set it, or name another provider",
    ),
    "only disabled providers": (
        ("provider_id: vllm", "provider_id: ${env.NO_SUCH_VARIABLE:+vllm}"),
        "providers.inference: all providers are disabled by their environment variables; set that of one",
    ),
    "no provider": (
        (GOOD[GOOD.index("  - provider_id: vllm") : GOOD.index("  messages:")], ""),
        "providers.inference: no provider; add one, so that there is a model to serve",
    ),
    "Messages provider without an id": (
        ("- provider_id: builtin\n    pro", "- pro"),
        "providers.messages[0]: no provider_id",
    ),
    "misspelt type of a provider": (("provider_type: remote", "provider_typ: remote"), "; did you mean provider_type?"),
    "misspelt providers": (("providers:", "provider:"), "the platform ignores; did you mean providers?"),
    "misspelt name": (("distro_name", "distro_nam"), "the platform ignores; did you mean distro_name?"),
    "misspelt API of the Messages provider": (("  messages:", "  message:"), "unknown API; did you mean messages?"),
    "misspelt host": (
        ("host: 127", "hots: 127"),
        "server.hots: unknown field, which the platform ignores; did you mean host?",
    ),
    "unset variable of a number": (
        ("default_model: vllm/qwen3", "max_tools: ${env.NO_SUCH_VARIABLE}"),
        f"{CONFIG}.max_tools: the environment variable NO_SUCH_VARIABLE is not set",
    ),
    "no host": (
        ("server:\n  host: 127.0.0.1\n", ""),
        "server.host: missing, so that the stack listens on all interfaces without authentication; set it to 127.0.0.1",
    ),
    "all interfaces": (("host: 127.0.0.1", "host: 0.0.0.0"), "server.host: 0.0.0.0 listens on all interfaces without"),
    "module that is not installed": (
        ("    provider_type: remote::vllm", "    provider_type: remote::vllm\n    module: no_such_package"),
        "providers.inference[0].module: no_such_package cannot be imported; install its package, or correct the name",
    ),
    "engine without its module": (
        ("remote::vllm\n    config:\n      base_url: http://127.0.0.1:8000/v1\n", "inline::llama-cpp\n"),
        "providers.inference[0]: inline::llama-cpp needs its module; add `module: llama_stack_provider_messages.local`",
    ),
    "Messages provider of another type": (
        ("inline::builtin", "inline::messages"),
        "providers.messages[0].provider_type: inline::messages is not known; write inline::builtin",
    ),
    "no Messages provider": (
        (GOOD[GOOD.index("  messages:") :], ""),
        "providers.messages: no provider; add",
    ),
    "providers that are not a list": (
        ("  - provider_id: vllm\n  ", "    vllm:\n  "),
        "providers.inference: is not a list",
    ),
}


def run(capsys, *arguments):
    """Run the command; return its exit code and the lines on stdout."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return ended.value.code, capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("change", "line"), BROKEN.values(), ids=BROKEN)
def test_a_mistake_is_one_line_with_its_path_and_the_remedy(change, line, tmp_path, capsys):
    """The command exits with 1; what follows from the mistake is not another line."""
    old, new = change
    assert GOOD.count(old) >= 1
    file = tmp_path / "run.yaml"
    file.write_text(GOOD.replace(old, new))
    code, lines = run(capsys, "check", file)
    assert code == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{file}: ")
    assert line in lines[0]


def test_all_mistakes_are_found_at_once(tmp_path, capsys):
    """An invalid field does not hide the names of unknown providers beside it."""
    file = tmp_path / "run.yaml"
    file.write_text(f"{GOOD}      native: {{vlm: on}}\n      pings: 1\n".replace("host: 127.0.0.1", "host: '::'"))
    code, lines = run(capsys, "check", file)
    assert code == 1
    assert [line.split(": ")[1] for line in lines] == [f"{CONFIG}.pings", f"{CONFIG}.native.vlm", "server.host"]


def test_all_mistakes_of_the_backends_are_found_at_once(tmp_path, capsys):
    """Several fields of one entry, several entries, and ids of providers that the file does not have."""
    backends = "{vllm: {like: vlm, images: maybe, thinkng: none}, vllm/a: {top_k: 3}, vlm: {efforts: 1}}"
    file = tmp_path / "run.yaml"
    file.write_text(f"{GOOD}      backends: {backends}\n      native: {{vllm: {{mode: maybe}}, vlm: on}}\n")
    code, lines = run(capsys, "check", file)
    assert code == 1
    assert [line.removeprefix(f"{file}: {CONFIG}.").split(": ")[0] for line in lines] == [
        *("backends.vllm.images", "backends.vllm.like", "backends.vllm.thinkng"),
        *("backends.vllm/a.top_k", "backends.vlm.efforts", "native.vllm.mode", "native.vlm", "backends.vlm"),
    ]
    assert all("; correct the value" in line or "; did you mean" in line for line in lines), lines


def test_mistakes_below_a_misspelt_name_are_found(tmp_path, capsys):
    """Each is one line, at the path with the correct name."""
    content = GOOD.replace("providers:", "provider:").replace("  inference:", "  inferenc:")
    content = content.replace("    config:\n      base_url", "    confg:\n      base_ulr").replace("host:", "hots:")
    content = content.replace("remote::vllm", "remote::vlm")
    file = tmp_path / "run.yaml"
    file.write_text(content)
    code, lines = run(capsys, "check", file)
    assert code == 1
    assert [line.split(": ")[1] for line in lines] == [
        *("provider", "server.hots", "providers.inferenc", "providers.inference[0].confg"),
        *("providers.inference[0].provider_type", "providers.inference[0].config.base_ulr"),
    ]


def test_a_file_without_mistakes_is_confirmed(tmp_path, capsys):
    """The command exits with 0."""
    file = tmp_path / "run.yaml"
    file.write_text(GOOD)
    assert run(capsys, "check", file) == (0, [f"{file}: no mistakes found"])


ACCEPTED = {
    "no list of APIs": ("apis: [inference, models, messages]\n", ""),
    "empty list of APIs": ("[inference, models, messages]", "[]"),
    "positional parameter of a shell": ("vllm/qwen3", "vllm/${1}"),
    "placeholders of another template language": ("vllm/qwen3", "vllm/${name} ${NAME} ${"),
    "Messages provider with its own module": (
        "    provider_type: inline::builtin\n",
        "    provider_type: inline::mine\n    module: llama_stack_provider_messages\n",
    ),
    "port": ("host: 127.0.0.1", "port: 8321\n  host: 127.0.0.1"),
    "port in quotes": ("host: 127.0.0.1", "port: '8321'\n  host: 127.0.0.1"),
    "port with a default": ("host: 127.0.0.1", "port: ${env.NO_SUCH_VARIABLE:=8321}\n  host: 127.0.0.1"),
    "aliases": ("version: 2", "x-a: &a {k: [1]}\nx-b: [*a, *a, {<<: *a}]\nversion: 2"),
}


@pytest.mark.parametrize(("old", "new"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_platform_accepts_is_accepted(old, new, tmp_path, capsys):
    """The command exits with 0."""
    assert old in GOOD
    file = tmp_path / "run.yaml"
    file.write_text(GOOD.replace(old, new))
    assert run(capsys, "check", file) == (0, [f"{file}: no mistakes found"])


def test_types_of_external_providers_are_accepted(tmp_path, capsys):
    """With `external_providers_dir`, the types of the platform are not the only ones."""
    file = tmp_path / "run.yaml"
    content = GOOD.replace("remote::vllm", "remote::mine").replace("inline::builtin", "inline::mine")
    file.write_text(f"external_providers_dir: /providers\n{content}")
    assert run(capsys, "check", file)[0] == 0


def test_a_variable_that_is_not_set_is_the_only_mistake_of_a_port(tmp_path, capsys):
    """The text of the reference is not reported as an invalid port."""
    file = tmp_path / "run.yaml"
    file.write_text(GOOD.replace("host: 127", "port: ${env.NO_SUCH_VARIABLE}\n  host: 127"))
    code, lines = run(capsys, "check", file)
    assert (code, len(lines)) == (1, 1)
    assert "server.port: the environment variable NO_SUCH_VARIABLE is not set" in lines[0]


@pytest.mark.parametrize(
    "content",
    [
        "x: &a [*a]",
        "[" * 20_000,
        "{a: " * 20_000,
        LAUGHS,
        LAUGHS.replace("[", "{<<: [").replace("]", "]}"),
        GOOD + "x: " + "[{provider_id: " * 45 + "1" + "}]" * 45,
        "x: [" + "1, " * 100_000 + "]",
    ],
    ids=["recursive", "lists", "mappings", "aliases", "merged aliases", "nested provider_id", "long list"],
)
def test_a_hostile_file_is_read_at_once(content, tmp_path):
    """It takes a few milliseconds, or a second at the limit of values; without limits, minutes."""
    file = tmp_path / "run.yaml"
    file.write_text(content)
    begin = time.process_time()
    check(read_run_config(file))
    assert time.process_time() - begin < 2


def test_a_hostile_declaration_of_an_api_is_ignored(tmp_path, capsys):
    """The files of `external_apis_dir` are read with the same limits."""
    (tmp_path / "api.yaml").write_text("[" * 20_000)
    file = tmp_path / "run.yaml"
    file.write_text(GOOD.replace(APIS_DIR, str(tmp_path)))
    code, lines = run(capsys, "check", file)
    assert code == 1
    assert f"external_apis_dir: no file in {tmp_path} declares the API `messages`" in lines[0]


@pytest.mark.parametrize("name", ["local", "starter", "ci-tests"])
def test_the_distributions_have_no_mistakes(name, capsys, monkeypatch):
    """They need nothing but MESSAGES_APIS_DIR; names of providers that the environment disables are accepted."""
    monkeypatch.setenv("MESSAGES_APIS_DIR", APIS_DIR)
    for variable in ("MODEL_PATH", "DEFAULT_MODEL", "CONTEXT_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    code, lines = run(capsys, "check", ROOT / "distributions" / name / "run.yaml")
    assert (code, len(lines)) == (0, 1), lines


def test_all_interfaces_with_authentication_are_accepted(tmp_path, capsys):
    """An address of all interfaces is a mistake only without `server.auth`."""
    auth = {"provider_config": {"type": "custom", "endpoint": "http://127.0.0.1:1/auth"}}
    content = yaml.safe_load(GOOD) | {"server": {"host": "0.0.0.0", "auth": auth}}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(content))
    assert run(capsys, "check", file)[0] == 0


def test_authentication_that_the_environment_disables_does_not_count(tmp_path, capsys):
    """Variables of a disabled authentication need not be set, as on the platform."""
    auth = {"provider_config": {"type": "${env.NO_SUCH_VARIABLE:+custom}", "endpoint": "${env.NO_SUCH_URL}"}}
    content = yaml.safe_load(GOOD) | {"server": {"host": "0.0.0.0", "auth": auth}}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(content))
    code, lines = run(capsys, "check", file)
    assert code == 1
    assert [line.split(": ")[1] for line in lines] == ["server.host"]


def test_variables_of_a_disabled_provider_need_not_be_set(tmp_path, capsys):
    """The platform leaves out a provider with the id `__disabled__` before it reads its configuration."""
    content = yaml.safe_load(GOOD)
    entry = {"provider_id": "${env.NO_SUCH_VARIABLE:=__disabled__}", "provider_type": "remote::openai"}
    content["providers"]["inference"].append({**entry, "config": {"api_key": "${env.NO_SUCH_KEY}"}})
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(content))
    assert run(capsys, "check", file)[0] == 0


def test_a_missing_package_of_a_platform_provider_is_named(tmp_path, capsys, monkeypatch):
    """The platform's provider for Ollama imports a package that the platform does not install."""
    monkeypatch.setitem(sys.modules, "ollama", None)
    file = tmp_path / "run.yaml"
    file.write_text(GOOD.replace("remote::vllm", "remote::ollama"))
    text = "remote::ollama needs the package ollama: pip install 'llama-stack-provider-messages[starter]'"
    assert run(capsys, "check", file) == (1, [f"{file}: providers.inference[0]: {text}"])


def test_a_model_in_the_home_of_an_unknown_user_is_one_line(tmp_path, capsys):
    """It is not a traceback."""
    content = yaml.safe_load(GOOD)
    module = "llama_stack_provider_messages.local"
    entry = {"provider_id": "local", "provider_type": "inline::llama-cpp", "module": module}
    content["providers"]["inference"].append({**entry, "config": {"model_path": "~no_such_user/model.gguf"}})
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(content))
    code, lines = run(capsys, "check", file)
    text = "~no_such_user/model.gguf begins with ~ and the name of an unknown user; write the whole path"
    assert code == 1
    assert lines[-1] == f"{file}: providers.inference[1].config.model_path: {text}"


def test_a_missing_model_and_a_missing_engine_are_named(tmp_path, capsys, monkeypatch):
    """The engine is an extra of this package."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    content = yaml.safe_load(GOOD)
    content["providers"]["inference"].append(
        {
            "provider_id": "local",
            "provider_type": "inline::llama-cpp",
            "module": "llama_stack_provider_messages.local",
            "config": {"model_path": "/no/model.gguf"},
        }
    )
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(content))
    code, lines = run(capsys, "check", file)
    place = f"{file}: providers.inference[1]"
    assert code == 1
    assert lines == [
        f"{place}: inline::llama-cpp needs the package xllamacpp: pip install 'llama-stack-provider-messages[local]'",
        f"{place}.config.model_path: no file at /no/model.gguf; give the path of a GGUF file",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is not a mapping at its top level; begin with `version: 2`"),
        (b"- a\n", "is not a mapping at its top level; begin with `version: 2`"),
        (b"\xff\xfe", "is not a text file in UTF-8; give the path of a run.yaml"),
        (b"{}", "is empty; begin with `version: 2`"),
    ],
)
def test_a_file_that_is_not_a_run_yaml_is_one_line(content, line, tmp_path, capsys):
    """It is not a traceback."""
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    assert run(capsys, "check", file) == (1, [f"{file}: {line}"])


def places(value, path=()):
    """Yield the path of every value of a file."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def test_a_value_of_another_type_is_not_a_traceback(tmp_path):
    """Each value of a distribution is replaced by values of other types, one at a time."""
    content = yaml.safe_load((ROOT / "distributions" / "ci-tests" / "run.yaml").read_text())
    file = tmp_path / "run.yaml"
    for path in [path for path in places(content) if path]:
        for value in (None, 1, "a..b", [[1]], {1: 2}, "${env.X", [{"provider_id": ["a"]}]):
            changed = copy.deepcopy(content)
            owner = functools.reduce(operator.getitem, path[:-1], changed)
            owner[path[-1]] = value
            file.write_text(yaml.safe_dump(changed))
            assert all("\n" not in str(finding) for finding in check(read_run_config(file)))


def test_a_missing_file_is_one_line(capsys):
    """It is not a traceback."""
    file = Path("/no/run.yaml")
    line = f"{file}: cannot be read: No such file or directory; give the path of a run.yaml"
    assert run(capsys, "check", file) == (1, [line])


def test_no_platform_module_is_imported_for_a_check(tmp_path):
    """The platform's server takes seconds to import, and the command is to take less than one."""
    file = tmp_path / "run.yaml"
    file.write_text(GOOD)
    code = (
        "import sys; from llama_stack_provider_messages.cli.main import main\n"
        "try: main(['check', sys.argv[1]])\n"
        "except SystemExit as end: print(end.code, [*{'llama_stack', 'openai', 'httpx'} & sys.modules.keys()])"
    )
    run = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "0 []"
