"""The suites run once for each upstream and each way to reach a stack, over a tape each.

An upstream whose name ends in ``-messages`` is asked through its own Messages API, any other one through chat
completions. Those of pyproject.toml are recorded from the embedded engine; ``--tape-upstream`` names others.
"""

import os

import pytest

from messages_tape import SUFFIX, Action
from messages_tape.testing.settings import Upstream
from messages_tape.testing.stack import choose_model, distributions, stack_environment
from support.suites import QUIET, SEEN, SILENT, Client, Library, Seen, in_process, over_http

ENGINE_KEY = "key-of-the-embedded-engine"
"""What the embedded engine wants, so that there is a wrong key."""
LIKE = {"llama-cpp": "llama_cpp", "ollama": "ollama", "vllm": "vllm", "lmstudio": "lmstudio"}
"""How an upstream's name begins -> the preset of its backend."""

passed = pytest.StashKey[bool]()


def named(config):
    """Return the upstreams that the suites are run for."""
    return [Upstream.of(text) for text in config.getoption("tape_upstream") or config.getini("tape_upstreams")]


def pytest_configure(config):
    """Name the markers of the suites."""
    config.addinivalue_line("markers", "lacking(upstream, why): the upstream does not have what the test is about")
    config.addinivalue_line("markers", "only_embedded(why): the test needs to know the backend")


def pytest_generate_tests(metafunc):
    """Run what takes a ``client`` in both ways, what takes a ``server`` in one."""
    ways = ["server", "library"] if "client" in metafunc.fixturenames else ["server"]
    if {"client", "server"} & set(metafunc.fixturenames):
        names = [one.name for one in named(metafunc.config)]
        metafunc.parametrize(("upstream", "way"), [(name, way) for name in names for way in ways])


def pytest_itemcollected(item):
    """Give each test the tape of its upstream."""
    marker = item.get_closest_marker("tape")
    if marker and hasattr(item, "callspec"):
        item.add_marker(pytest.mark.tape(*marker.args, upstream=item.callspec.params["upstream"]), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Note whether a test passed: what a client saw is kept only then."""
    report = yield
    if report.when == "call":
        item.stash[passed] = report.passed
    return report


def is_embedded(upstream):
    """Say whether an upstream is the embedded engine, however it is asked."""
    return upstream.startswith("llama-cpp-")


@pytest.fixture(autouse=True, scope="module")
def keys():
    """The embedded engine wants a key, and the stack has it."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("TAPE_API_KEY"):
            patch.setenv("TAPE_API_KEY", ENGINE_KEY)
        yield


@pytest.fixture(autouse=True)
def possible(request, pytestconfig):
    """Skip what an upstream cannot do, or could not when it was recorded."""
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
    """What each request has, so that nobody thinks unasked."""
    return SILENT if lane == "native" and is_embedded(upstream) else QUIET


@pytest.fixture
def stack_env(upstream, lane):
    """The variables of the ci-tests distribution that say how an upstream is asked."""
    like = next((preset for name, preset in LIKE.items() if upstream.startswith(name)), "openai")
    native = {"native": "on", "translated": "off"}[lane]
    repair = str(upstream.startswith("llama-cpp")).lower()
    return {"TAPE_LIKE": like, "TAPE_NATIVE": native, "TAPE_REPAIR": repair}


@pytest.fixture(scope="session")
def libraries():
    """Processes with a library client, by the address of their upstream."""
    running = {}
    yield running
    for library in running.values():
        library.close()


@pytest.fixture
def seen(request, tape):
    """What the client saw; kept when the tape is recorded, compared when it is played."""
    action = tape.action
    if action is Action.LIVE:
        yield None
        return
    path = tape.path.with_name(tape.path.name.removesuffix(SUFFIX) + SEEN)
    compared = Seen(path, compares=action is not Action.RECORD)
    yield compared
    if action is Action.RECORD and request.node.stash.get(passed, False):
        compared.save()


@pytest.fixture
def server(request, tape, lane, fields, way):
    """A client of a running stack."""
    stack = request.getfixturevalue("stack")
    seen = request.getfixturevalue("seen")
    made = Client(stack.model, lane, fields, tape, seen, over_http(stack.url))
    made.url = stack.url
    return made


@pytest.fixture
def client(request, tape, lane, fields, way, stack_env, libraries, tmp_path_factory):
    """A client of a running stack, or of one inside its process."""
    if way == "server":
        return request.getfixturevalue("server")
    url = tape.url
    if url not in libraries:
        folder = tmp_path_factory.mktemp("library")
        env = stack_environment(url, engine=False, more=stack_env)
        env |= {"SQLITE_STORE_DIR": str(folder), "LLAMA_STACK_CONFIG_DIR": str(folder)}
        libraries[url] = Library(distributions() / "ci-tests" / "run.yaml", folder, env)
    model = choose_model(libraries[url].models, tape.model)
    return Client(model, lane, fields, tape, request.getfixturevalue("seen"), in_process(libraries[url]))
