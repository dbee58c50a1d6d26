"""``messages-tape check`` and ``prune``: problems in tapes, unused tapes and exchanges."""

from pathlib import Path

import pytest

from messages_tape import dump, read_tape
from messages_tape.cli.inspect import review
from messages_tape.cli.main import main
from support.tape_cli import curl, run
from support.tapes import exchange, reply, tape

KEY = "sk-ant-api03-" + "planted0123456789"
GOOD = dump(tape(exchange({"model": "m"}, reply("hi"), path="/v1/x")))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with two tapes, one of ambient calls, and a test that names the first."""
    monkeypatch.chdir(tmp_path)
    write("recordings/vllm/hello.tape.yaml", GOOD)
    write("recordings/vllm/old.tape.yaml", GOOD)
    write("recordings/vllm/ambient.tape.yaml", GOOD)
    write("tests/test_chat.py", '@pytest.mark.tape("hello")\ndef test_it(): pass\n')
    return tmp_path


def write(name, text):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.tape.yaml"))


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (GOOD, None),
        ("a: [", "not YAML: "),
        ("a: 1", "not a tape: `tape: 1` is missing; correct the file, or record the tape again"),
        ("tape: 2", "format 2 is not supported, only format 1; update the package"),
        (GOOD.replace("path: /v1/x", "x: y"), "exchanges.0.request.path: Field required"),
        (
            GOOD.replace("status: 200", 'status: "200"'),
            "exchanges.0.response.status: does not match the JSON Schema (type: \"integer\"); correct the file",
        ),
        (GOOD.replace("hi", KEY), f"exchange 1, response body: a key that begins with sk- ({len(KEY)} characters); if"),
        (f"{GOOD}# {KEY}\n", f"line {GOOD.count(chr(10)) + 1}: a key that begins with sk- ({len(KEY)} characters); if"),
    ],
)  # fmt: skip
def test_review_finds_problems_in_a_file(text, finding):
    """One line each, with the remedy, and without the secret."""
    found = review(text)
    assert bool(found) == bool(finding)
    for line in found:
        assert "\n" not in line
        assert "; " in line
        assert KEY not in line
    assert not finding or found[0].startswith(finding)


def test_a_file_that_is_not_a_tape_is_also_scanned_for_secrets():
    first, second = review(f"key: {KEY}\n")
    assert first.startswith("not a tape")
    assert second.startswith("line 1: a key that begins with sk-")


def test_harmless_values_are_not_reported():
    assert review(GOOD.replace("hi", KEY), frozenset({KEY})) == []


def test_check_prints_one_line_per_finding(project, capsys):
    write("recordings/bad.tape.yaml", "a: 1\n")
    write("recordings/vllm/leak.tape.yaml", GOOD.replace("hi", KEY))
    (project / "recordings/latin.tape.yaml").write_bytes(b"tape: 1 # \xe4")
    assert main(["check", "--allow-unnamed"]) == 1
    said = capsys.readouterr()
    assert [line.split(": ")[0:2] for line in said.out.splitlines()] == [
        ["recordings/bad.tape.yaml", "not a tape"],
        ["recordings/latin.tape.yaml", "not UTF-8; correct the file, or record the tape again"],
        ["recordings/vllm/leak.tape.yaml", "exchange 1, response body"],
        ["recordings/vllm/leak.tape.yaml", "exchange 1, response body, the whole joined"],
    ]
    assert said.err == "messages-tape: 6 tapes in recordings: 4 findings\n"
    assert KEY not in said.out


def test_check_finds_tapes_that_no_test_names(project, capsys):
    assert main(["check"]) == 1
    assert capsys.readouterr().out == (
        "recordings/vllm/old.tape.yaml: no test names it; name it in a test, remove it with `messages-tape prune "
        "--yes`, or pass --allow-unnamed if your tests do not name tapes\n"
    )
    write("tests/deep/test_more.py", '\n@pytest.mark.tape("old", upstream="vllm")\ndef test_it(): pass\n')
    assert main(["check"]) == 0
    assert capsys.readouterr().err == "messages-tape: 3 tapes in recordings: ok\n"


@pytest.mark.parametrize(
    "leaves", ["pytest.importorskip('gone')", "pytest.skip('no', allow_module_level=True)", "1 / 0"]
)
def test_tapes_named_by_a_skipped_module_count_as_used(project, capsys, leaves):
    """Tests are parsed and not run, so their imports need not be installed."""
    write("tests/test_more.py", f'import pytest\n{leaves}\n@pytest.mark.tape("old")\ndef test_it(): pass\n')
    assert main(["check", "recordings"]) == 0
    assert main(["prune", "recordings", "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().err
    assert "vllm/old.tape.yaml" in files(project / "recordings")


def test_check_says_where_a_name_is_computed(project, capsys):
    write("tests/test_computed.py", "pytest.mark.tape(NAME)\n")
    assert main(["check"]) == 1
    assert "(tests/test_computed.py:1: write these names as literals)" in capsys.readouterr().out


def test_check_takes_other_folders_and_harmless_values(project, capsys):
    write("tapes/mine.tape.yaml", GOOD.replace("hi", KEY))
    write("checks/any.py", 'use_tape(x, "mine")')
    write("checks/.venv/broken.py", "1 +")
    assert main(["check", "tapes", "--tests", "checks", "--harmless", KEY]) == 0


@pytest.mark.parametrize("command", ["check", "prune"])
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["gone"], "there is no folder gone; give the folder of your tapes"),
        (["--tests", "gone"], "there is no test folder gone; name "),
        ([], "tests/test_broken.py:1: not valid Python (invalid syntax); correct the file first"),
    ],
)
def test_a_usage_error_is_one_line(project, capsys, command, words, complaint):
    write("tests/test_broken.py", "1 +\n")
    assert main([command, *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"messages-tape: {complaint}")
    assert said.count("\n") == 1


def test_check_without_a_test_folder_names_allow_unnamed(project, capsys):
    assert main(["check", "--tests", "gone"]) == 2
    assert capsys.readouterr().err == (
        "messages-tape: there is no test folder gone; name it with --tests, or pass --allow-unnamed to check without "
        "tests\n"
    )


def test_prune_removes_only_with_yes(project, capsys):
    """A folder that becomes empty is removed as well."""
    write("recordings/tgi/gone.tape.yaml", GOOD)
    before = files(project)
    assert main(["prune"]) == 0
    said = capsys.readouterr()
    assert said.out == (
        "recordings/tgi/gone.tape.yaml: no test names it\nrecordings/vllm/old.tape.yaml: no test names it\n"
    )
    assert said.err == "messages-tape: 2 tapes to remove; add --yes to remove\n"
    assert files(project) == before
    assert main(["prune", "--yes"]) == 0
    assert capsys.readouterr().err == "messages-tape: 2 tapes removed\n"
    assert files(project) == ["recordings/vllm/ambient.tape.yaml", "recordings/vllm/hello.tape.yaml"]
    assert not (project / "recordings/tgi").exists()
    assert main(["prune", "--yes"]) == 0
    assert capsys.readouterr().err == "messages-tape: nothing to remove\n"


def test_prune_keeps_the_folder_of_all_tapes(project):
    write("tapes/gone.tape.yaml", GOOD)
    assert main(["prune", "tapes", "--yes"]) == 0
    assert (project / "tapes").exists()
    assert files(project / "tapes") == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("", "no test in tests names a tape; name the folder of your tests with --tests"),
        ('mark.tape("a")\nmark.tape(b)', "the tape names at tests/test_chat.py:2 are computed"),
    ],
)
def test_prune_removes_nothing_if_it_is_unknown_what_is_used(project, capsys, source, complaint):
    write("tests/test_chat.py", source)
    assert main(["prune", "--yes"]) == 2
    assert complaint in capsys.readouterr().err
    assert len(files(project)) == 3


@pytest.fixture
def three(project):
    """A tape with three exchanges."""
    asked = [exchange({"model": "m"}, reply(number), path=f"/v1/{number}") for number in range(3)]
    write("recordings/three.tape.yaml", dump(tape(*asked)))
    return project / "recordings/three.tape.yaml"


def test_exchanges_that_a_client_does_not_request_are_removed(three):
    """The shorter tape is sufficient for the client."""
    words = ["prune", three, "--", *curl("/v1/0", "/v1/2")]
    dry = run(*words)
    assert (dry.returncode, b"1 exchange to remove; add --yes" in dry.stderr) == (0, True)
    assert dry.stdout == f"02{three}: exchange 2 (POST /v1/1) was not requested\n".encode()
    assert len(read_tape(three).exchanges) == 3
    assert run("prune", "--yes", *words[1:]).returncode == 0
    assert [one.request.path for one in read_tape(three).exchanges] == ["/v1/0", "/v1/2"]
    assert b"nothing to remove" in run(*words).stderr


@pytest.mark.parametrize(
    ("paths", "client_code", "code", "reason"),
    [
        (["/v1/0"], "3", 3, "the client failed"),
        (["/v1/0", "/v1/x"], "0", 1, "the requests of the client do not match the tape"),
        ([], "0", 1, "the client sent no request that is on the tape"),
    ],
)
def test_a_tape_is_not_changed_if_the_client_run_is_inconclusive(
    three, monkeypatch, capfd, paths, client_code, code, reason
):
    monkeypatch.setenv("CODE", client_code)
    assert main(["prune", "--yes", str(three), "--", *curl(*paths)]) == code
    assert reason in capfd.readouterr().err
    assert len(read_tape(three).exchanges) == 3
