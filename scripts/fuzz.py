"""Runs schemathesis against the Messages API of a running stack with a scripted upstream.

The schema is the published one, which declares a response for every error status. The checks are that no response is
a 5xx, and that each has the declared shape. Usage: fuzz.py SCHEMATHESIS EXAMPLES
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.chat_upstream import ChatUpstream  # noqa: E402 - found through the line above
from support.stack_process import StackProcess, run_config, vllm  # noqa: E402 - as above

CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance"


def messages_schema(url: str) -> dict[str, object]:
    """Return the published schema, reduced to our route."""
    schema = httpx.get(f"{url}/openapi.json", timeout=60).raise_for_status().json()
    schema["paths"] = {path: item for path, item in schema["paths"].items() if path == "/v1/messages"}
    return dict(schema)


def main() -> int:
    """Return the exit code of schemathesis, or 1 if the stack's log has a traceback or an unexpected error."""
    program, examples = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name, ChatUpstream() as upstream:
        folder = Path(name)
        config = run_config([vllm(upstream.url)], {"default_model": "up/text"})
        with StackProcess(config, folder, {"LLAMA_STACK_LOG_FORMAT": "json"}) as stack:
            (folder / "schema.json").write_text(json.dumps(messages_schema(stack.url)))
            command = [program, "run", str(folder / "schema.json"), "--url", stack.url, "--checks", CHECKS]
            command += ["--max-examples", examples, "--phases", "fuzzing", "--suppress-health-check", "all"]
            status = subprocess.run(command, cwd=folder, check=False).returncode
            expected = "Traceback" not in stack.log and ": unexpected " not in stack.log
    return status or not expected


if __name__ == "__main__":
    sys.exit(main())
