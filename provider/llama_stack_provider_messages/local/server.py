"""The child process: llama.cpp's server, until the parent ends.

Started as a file, not as a module, and with the standard library and the engine alone, so that it costs no memory
for the platform. Reads one JSON line of options from stdin and answers with one on stdout: ``{"address": ...}``.
Its stdin stays open; the end of it is the end of the parent.
"""

import ctypes
import json
import os
import select
import signal
import sys
import threading
from typing import Any

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel end this process with the thread that started it, and end now if that is gone already.

    Loading a model holds the interpreter's lock, so a thread that waits for the end of stdin is not enough.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([0], [], [], 0)[0]:
        os._exit(0)


def exit_at_end_of_stdin() -> None:
    """Wait until the parent is gone; leave without llama.cpp's destructor, which can wait for ever."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def parameters(engine: Any, options: dict[str, Any]) -> Any:  # noqa: ANN401 - the engine has no types
    """Return the engine's parameters with the options set; their names may be dotted."""
    params = engine.CommonParams()
    for name, value in options.items():
        *path, last = name.split(".")
        target = params
        for part in path:
            target = getattr(target, part)
        setattr(target, last, value)
    return params


def main() -> None:
    """Serve until stdin ends or a signal comes."""
    options = json.loads(sys.stdin.buffer.readline() or b"{}")
    die_with_parent()
    watcher = threading.Thread(target=exit_at_end_of_stdin, daemon=True)
    watcher.start()
    report = os.dup(1)
    os.dup2(2, 1)  # whatever the engine prints is log
    import xllamacpp

    try:
        server = xllamacpp.Server(parameters(xllamacpp, options))
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)
    os.write(report, json.dumps({"address": server.listening_address}).encode() + b"\n")
    os.close(report)
    watcher.join()


if __name__ == "__main__":
    main()
