"""``messages launch`` and ``messages doctor`` on running stacks."""

import json
import os
import signal
import subprocess
import sys

MESSAGES = [sys.executable, "-P", "-m", "llama_stack_provider_messages.cli.main"]
CLIENT = """
import os, sys
import anthropic
assert "ANTHROPIC_API_KEY" not in os.environ
reply = anthropic.Anthropic().messages.create(
    model=os.environ["ANTHROPIC_MODEL"], max_tokens=50, messages=[{"role": "user", "content": "Hello"}]
)
print(reply.content[0].text)
sys.exit(7)
"""
WAITING_CLIENT = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print("ready", flush=True)
signal.pause()
"""
HANG_SECONDS = 120


def command(*words):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC_")}
    environment["ANTHROPIC_API_KEY"] = "sk-caller"
    return {"args": [*MESSAGES, *words], "env": environment, "text": True, "stdout": subprocess.PIPE}


def launch(stack, program):
    return command("launch", "--url", stack.url, "--model", "up/text", "--", sys.executable, "-c", program)


def test_an_sdk_finds_the_stack_in_its_environment_and_its_exit_code_is_returned(stack):
    done = subprocess.run(**launch(stack, CLIENT), timeout=HANG_SECONDS, check=False)
    assert (done.stdout, done.returncode) == ("Hello there\n", 7)


def test_signals_reach_the_client(stack):
    with subprocess.Popen(**launch(stack, WAITING_CLIENT)) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_SECONDS) == 3


def doctor(url, *words):
    done = subprocess.run(**command("doctor", url, "--json", *words), timeout=HANG_SECONDS, check=False)
    report = json.loads(done.stdout)
    return done.returncode, {check["name"]: check for check in report["checks"]}


def test_the_doctor_names_what_a_scripted_stack_lacks(stack):
    code, checks = doctor(stack.url, "--model", "up/agent")
    failed = [name for name, check in checks.items() if check["status"] == "fail"]
    assert (code, failed) == (1, ["client names"])
    assert "claude-sonnet-5" in checks["client names"]["text"]
    assert checks["lane"]["text"] == "translated; reason=probed (requests become chat completions)"
    assert checks["token counts"]["status"] == "warn"
    assert checks["environment"]["status"] == "warn"


def test_the_doctor_finds_nothing_wrong_with_the_embedded_engine(local_stack):
    code, checks = doctor(local_stack.url)
    assert (code, {check["status"] for check in checks.values()} <= {"ok", "warn"}) == (0, True), checks
    assert checks["tool calls"]["text"].startswith("parsed: get_weather(")
    assert checks["token counts"]["text"].startswith("exact")
