"""Test double of the engine in the child process; the name of the model file selects its behaviour."""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace


class CommonParams(SimpleNamespace):
    def __init__(self):
        super().__init__(model=SimpleNamespace(path=""), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())


def _log(text):
    sys.stderr.write(f"0.00.001 {text}\n")
    sys.stderr.flush()


class Server:
    """Behaves towards its process like the engine's server."""

    listening_address = "http://127.0.0.1:9"

    def __init__(self, params):
        path = params.model.path
        _log(f"I model {path}")
        getattr(self, Path(path).stem)(path)

    def serves(self, _path):
        _log("I loading")

    def rejects_model(self, path):
        _log(f"E load: tensor is not within the file bounds: {path}")
        _log("E init: exiting")
        raise RuntimeError("Failed to init server, please check the input params.")

    def hangs(self, _path):
        time.sleep(600)

    def loads(self, _path):
        """Hold the interpreter's lock, as the engine does while it loads."""
        sys.setswitchinterval(1000)
        libc, line = ctypes.PyDLL(None), b"I loading\n"
        libc.write(2, line, len(line))
        libc.sleep(600)

    def ignores_sigterm(self, _path):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def crashes_later(self, path):
        """Crash as soon as the file `now` appears beside the model."""

        def watch():
            while not Path(path).with_name("now").exists():
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGSEGV)

        threading.Thread(target=watch, daemon=True).start()

    def logs_much(self, _path):
        sys.stdout.write("noise on stdout\n" * 1000)
        sys.stdout.flush()
        for number in range(20_000):
            _log(f"I line {number} " + "x" * 40)
