"""A stack inside a process, asked over its stdin: one JSON object a line in, one a line out. Usage: CONFIG.

First the models it serves: ANSWER ["up/tiny"]. Then

In:  {"path": "/v1/messages", "body": {...}}
Out: ANSWER {"status": 200, "text": "..."}, ANSWER {"events": [...]} or ANSWER {"error": "...", "kind": "..."}
"""

import json
import sys

from llama_stack.core.library_client import LlamaStackAsLibraryClient
from llama_stack_client import Stream

MARK = "ANSWER "


def answer(client, path, body):
    """Return what the client gets; a failure is raised to it as it is."""
    try:
        if body.get("stream"):
            events = client.post(path, body=body, cast_to=object, stream=True, stream_cls=Stream[object])
            return {"events": [*events]}
        reply = client.post(path, body=body, cast_to=object)
        return {"status": reply.status_code, "text": bytes(reply.content).decode()}
    except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
        return {"error": str(error), "kind": type(error).__name__}


def main(config):
    client = LlamaStackAsLibraryClient(config)
    print(MARK + json.dumps([model.id for model in client.models.list()]), flush=True)
    for line in sys.stdin:
        print(MARK + json.dumps(answer(client, **json.loads(line))), flush=True)
    client.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
