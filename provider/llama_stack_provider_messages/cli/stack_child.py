"""The program of a stack that this package starts: ``llama`` of the platform, which ends when its parent has ended.

The parent holds the other end of stdin. It is closed when the parent ends for whatever reason, SIGKILL included, on
every system; then the stack is stopped like with Ctrl-C, and killed if it does not stop in time. A module of its own
imports nothing of this package, so that it starts as fast as the platform's command.
"""

import os
import signal
import sys
import threading
from importlib.metadata import entry_points

STOP_SECONDS = 8.0
"""How long a stack may take to stop; less than the ten seconds after which Docker kills a container."""


def stop_at_end_of_stdin() -> None:
    """Wait for the end of the parent, and stop this process."""
    while os.read(0, 4096):  # not sys.stdin, whose lock would be held when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(STOP_SECONDS)
    os._exit(1)


def main() -> None:
    """Run the platform's command with the arguments of this one."""
    threading.Thread(target=stop_at_end_of_stdin, daemon=True).start()
    (llama,) = entry_points(group="console_scripts", name="llama")
    sys.argv[0] = "llama"
    sys.exit(llama.load()())


if __name__ == "__main__":
    main()
