"""Waits until a stack responds with a Message. Usage: wait_ready.py URL PID [SECONDS]."""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request

PROBE = {"model": "any", "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}


def is_ready(url: str) -> bool:
    """Whether the stack responds with a Message; exit with its error if the status is below 500."""
    request = urllib.request.Request(
        f"{url}/v1/messages", json.dumps(PROBE).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as reply:
            return bool(json.load(reply).get("type") == "message")
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            return False
        raise SystemExit(
            f"{url}/v1/messages responded with {error.code}: {error.read().decode(errors='replace')}"
        ) from None
    except (OSError, ValueError, http.client.HTTPException):
        return False


def main(url: str, pid: int, seconds: float = 180) -> None:
    """Poll until the stack is ready; exit with an error at the deadline or if the process has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_ready(url):
            return
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            raise SystemExit("The server ended before it responded; its output is above") from None
        time.sleep(0.3)
    raise SystemExit(f"{url}/v1/messages did not respond within {seconds:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:]))
