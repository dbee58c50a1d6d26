"""Runs commands in a terminal of 100 columns and writes what it shows as SVG files; see scripts/terminal-pictures."""

import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping
from contextlib import suppress
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
MODEL = ROOT / "provider" / "llama_stack_provider_messages" / "local" / "tiny.gguf"
COLUMNS, ROWS = 100, 50
READY = "Ctrl-C stops it"
PORT = 8321
"""The port in the pictures."""
RUN_YAML = """version: 2
distro_name: mine
apis: [inference, models, messages]
external_apis_dir: ${env.MESSAGES_APIS_DIR}
server: {host: 0.0.0.0}
providers:
  inference:
  - provider_id: vllm
    provider_type: remote::vllm
    config: {base_url: "http://127.0.0.1:8000/v1", api_key: none}
  messages:
  - provider_id: builtin
    provider_type: inline::builtin
    config: {defualt_model: vllm/qwen3-coder, aliases: {"claude-haiku-*": ollama/qwen3-4b}}
"""
FORMAT = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Fonts of the reader's machine only: a picture loads nothing."""


class Terminal:
    """Runs commands in a folder that is also their home.

    Args:
        folder: The folder.
        port: The port of the stack, which the pictures do not show.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LD_LIBRARY_PATH", "TMPDIR")}
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        self.environ = {**kept, "HOME": str(folder), "PATH": path, "TERM": "xterm-256color", "NO_PROXY": "127.0.0.1"}

    def start(self, command: str, **env: str) -> tuple[subprocess.Popen[bytes], int]:
        """Start a command; return its process and the terminal to read from."""
        terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], stdin=inside, stdout=inside, stderr=inside,
            cwd=self._folder, env=self.environ | env, start_new_session=True,
        )  # fmt: skip
        os.close(inside)
        return process, terminal

    def run(self, command: str, **env: str) -> str:
        """Run a command to its end; return what the terminal shows."""
        process, terminal = self.start(command, **env)
        shown = read_until(terminal, None)
        process.wait()
        os.close(terminal)
        return shown

    def normal(self, text: str) -> str:
        """Return a text with fixed ports, folders and times."""
        text = text.replace("\r\n", "\n").replace(str(self._port), str(PORT)).replace(str(self._folder), "~")
        text = text.replace(f" --url http://127.0.0.1:{PORT}", "")
        return re.sub(r"after \d+\.\d s, last \d+\.\d s", "after 0.2 s, last 0.9 s", text)


def read_until(terminal: int, mark: str | None) -> str:
    """Return what a terminal shows, up to and with the line of a mark, or to the end."""
    shown = b""
    with suppress(OSError):  # Linux: the other side is closed
        while not (mark and re.search(f"^{re.escape(mark)}.*\n", shown.decode(errors="replace"), re.MULTILINE)):
            part = os.read(terminal, 65536)
            if not part:
                break
            shown += part
    return shown.decode(errors="replace")


def write_picture(name: str, commands: Mapping[str, str]) -> None:
    """Write a picture of commands and what they print."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    for command, output in commands.items():
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        for line in Text.from_ansi(output.rstrip()).split(allow_blank=True):
            places = range(COLUMNS, max(len(line), 1), COLUMNS)
            for part in line.divide(places):
                console.print(part, no_wrap=True)
    picture = console.export_svg(title="messages", theme=MONOKAI, code_format=FORMAT, unique_id=name)
    (IMAGES / f"{name}.svg").write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n")


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        folder = Path(name).resolve()
        (folder / "qwen3-coder.gguf").symlink_to(MODEL)
        (folder / "run.yaml").write_text(RUN_YAML)
        terminal, url = Terminal(folder, port), f"http://127.0.0.1:{port}"
        check = terminal.normal(terminal.run("messages check run.yaml"))
        write_picture("check", {"messages check run.yaml": check})
        serve = "messages serve --model qwen3-coder.gguf"
        process, shown_by = terminal.start(serve, PORT=str(port))
        try:
            banner = terminal.normal(read_until(shown_by, READY))
            launch = terminal.normal(terminal.run(f"messages launch --url {url} claude --print"))
            doctor = terminal.normal(terminal.run(f"messages doctor {url}", ANTHROPIC_API_KEY="sk-x"))
        finally:
            process.send_signal(signal.SIGINT)
            read_until(shown_by, None)
            process.wait()
    write_picture("serve", {serve: banner})
    write_picture("launch", {"messages launch claude --print": launch})
    write_picture("doctor", {"messages doctor": doctor})


if __name__ == "__main__":
    main()
