"""Runs the suites once for each upstream and each type of client, with a tape for each test and upstream.

Requests to an upstream whose name ends in ``-messages`` use its own Messages API, those to any other one use chat
completions. The upstreams of pyproject.toml are recorded from the embedded engine; ``--tape-upstream`` names others.
"""

import os

import pytest

from messages_tape import SUFFIX, Action
from messages_tape.testing.settings import Upstream
from messages_tape.testing.stack import choose_model, distributions, stack_environment
from support.suites import (
    NO_THINKING,
    NO_THINKING_LLAMA_CPP,
    RESPONSES_SUFFIX,
    Client,
    ClientResponses,
    Library,
    in_process,
    over_http,
)

ENGINE_KEY = "key-of-the-embedded-engine"
"""The key that the embedded engine requires, so that a test can send a wrong one."""
PRESETS = {"llama-cpp": "llama_cpp", "ollama": "ollama", "vllm": "vllm", "lmstudio": "lmstudio"}
"""Prefix of an upstream's name -> the preset of its backend."""

passed = pytest.StashKey[bool]()


def upstreams_of(config):
    """Return the upstreams for which the suites run."""
    return [Upstream.of(text) for text in config.getoption("tape_upstream") or config.getini("tape_upstreams")]


def pytest_configure(config):
    """Register the markers of the suites."""
    config.addinivalue_line("markers", "lacking(upstream, why): the upstream does not have the tested feature")
    config.addinivalue_line("markers", "only_embedded(why): the test needs to know the backend")


def pytest_generate_tests(metafunc):
    """Run a test with a ``client`` over HTTP and in a process, a test with a ``server`` over HTTP only."""
    ways = ["server", "library"] if "client" in metafunc.fixturenames else ["server"]
    if {"client", "server"} & set(metafunc.fixturenames):
        names = [one.name for one in upstreams_of(metafunc.config)]
        metafunc.parametrize(("upstream", "way"), [(name, way) for name in names for way in ways])


def pytest_itemcollected(item):
    """Give each test the tape of its upstream."""
    marker = item.get_closest_marker("tape")
    if marker and hasattr(item, "callspec"):
        item.add_marker(pytest.mark.tape(*marker.args, upstream=item.callspec.params["upstream"]), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Record whether a test passed: the responses to its client are saved only then."""
    report = yield
    if report.when == "call":
        item.stash[passed] = report.passed
    return report


def is_embedded(upstream):
    """Return whether an upstream is the embedded engine, with either API."""
    return upstream.startswith("llama-cpp-")


@pytest.fixture(autouse=True, scope="module")
def keys():
    """Set the key that the embedded engine requires and the stack sends."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("TAPE_API_KEY"):
            patch.setenv("TAPE_API_KEY", ENGINE_KEY)
        yield


@pytest.fixture(autouse=True)
def skip_unsupported(request, pytestconfig):
    """Skip a test that the upstream does not support or that has no tape of it."""
    node = request.node
    upstream = node.callspec.params["upstream"]
    for marker in node.iter_markers("lacking"):
        if marker.args[0] == upstream:
            pytest.skip(marker.args[1])
    if is_embedded(upstream):
        return
    if marker := node.get_closest_marker("only_embedded"):
        pytest.skip(marker.args[0])
    name = node.get_closest_marker("tape").args[0]
    path = pytestconfig.rootpath / pytestconfig.getini("tape_dir") / upstream / f"{name}{SUFFIX}"
    if pytestconfig.getoption("tape_mode") in ("none", "verify") and not path.exists():
        pytest.skip(f"not recorded from {upstream}")


@pytest.fixture
def lane(upstream):
    return "native" if upstream.endswith("-messages") else "translated"


@pytest.fixture
def fields(upstream, lane):
    """Default fields of each request, which disable thinking."""
    return NO_THINKING_LLAMA_CPP if lane == "native" and is_embedded(upstream) else NO_THINKING


@pytest.fixture
def stack_env(upstream, lane):
    """The variables of the ci-tests distribution that select the API of an upstream."""
    like = next((preset for name, preset in PRESETS.items() if upstream.startswith(name)), "openai")
    native = {"native": "on", "translated": "off"}[lane]
    repair = str(upstream.startswith("llama-cpp")).lower()
    return {"TAPE_LIKE": like, "TAPE_NATIVE": native, "TAPE_REPAIR": repair}


@pytest.fixture(scope="session")
def libraries():
    """Address of an upstream -> process with a library client."""
    running = {}
    yield running
    for library in running.values():
        library.close()


@pytest.fixture
def client_responses(request, tape):
    """The responses to the client: saved when the tape is recorded, compared when it is played."""
    action = tape.action
    if action is Action.LIVE:
        yield None
        return
    path = tape.path.with_name(tape.path.name.removesuffix(SUFFIX) + RESPONSES_SUFFIX)
    client_responses = ClientResponses(path, compares=action is not Action.RECORD)
    yield client_responses
    if action is Action.RECORD and request.node.stash.get(passed, False):
        client_responses.save()


@pytest.fixture
def server(request, tape, lane, fields, way):
    """A client of a running stack."""
    stack = request.getfixturevalue("stack")
    client_responses = request.getfixturevalue("client_responses")
    made = Client(stack.model, lane, fields, tape, client_responses, over_http(stack.url))
    made.url = stack.url
    return made


@pytest.fixture
def client(request, tape, lane, fields, way, stack_env, libraries, tmp_path_factory):
    """A client of a running stack, or a library client with its own stack."""
    if way == "server":
        return request.getfixturevalue("server")
    url = tape.url
    if url not in libraries:
        folder = tmp_path_factory.mktemp("library")
        env = stack_environment(url, engine=False, more=stack_env)
        env |= {"SQLITE_STORE_DIR": str(folder), "LLAMA_STACK_CONFIG_DIR": str(folder)}
        libraries[url] = Library(distributions() / "ci-tests" / "run.yaml", folder, env)
    model = choose_model(libraries[url].models, tape.model)
    return Client(model, lane, fields, tape, request.getfixturevalue("client_responses"), in_process(libraries[url]))
