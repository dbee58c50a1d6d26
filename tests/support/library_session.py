"""Runs a library client; reads one request per line from stdin and writes one response per line. Usage: CONFIG.

The first line of output lists the served models: ANSWER ["up/tiny"]. Then

In:  {"path": "/v1/messages", "body": {...}}
Out: ANSWER {"status": 200, "text": "..."}, ANSWER {"events": [...]} or ANSWER {"error": "...", "kind": "..."}
"""

import json
import sys

from llama_stack.core.library_client import LlamaStackAsLibraryClient
from llama_stack_client import Stream

MARK = "ANSWER "
"""Start of each line with a response; ``suites.py``, which reads them in another process, has the same constant."""


def answer(client, path, body):
    """Return the response of the library client, or its exception as text and type."""
    try:
        if body.get("stream"):
            events = client.post(path, body=body, cast_to=object, stream=True, stream_cls=Stream[object])
            return {"events": [*events]}
        reply = client.post(path, body=body, cast_to=object)
        return {"status": reply.status_code, "text": bytes(reply.content).decode()}
    except Exception as error:  # noqa: BLE001 - the test checks the error
        return {"error": str(error), "kind": type(error).__name__}


def main(config):
    client = LlamaStackAsLibraryClient(config)
    print(MARK + json.dumps([model.id for model in client.models.list()]), flush=True)
    for line in sys.stdin:
        print(MARK + json.dumps(answer(client, **json.loads(line))), flush=True)
    client.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
