"""Which addresses are this machine, and that no proxy is used for them."""

import subprocess
import sys

import pytest

from llama_stack_provider_messages.upstream.this_machine import is_this_machine

LOCAL = (
    *("http://localhost:8000/v1", "http://LOCALHOST", "http://localhost.", "http://a.localhost:1", "http://127.0.0.1"),
    *("http://127.9.9.9:1/v1", "http://user:key@127.0.0.2", "https://[::1]:8000", "http://[::ffff:127.0.0.1]"),
    *("http://0.0.0.0:8000", "http://[::]:8000"),
)
OTHER = (
    *("http://10.0.0.1", "http://localhost.example.com", "http://notlocalhost", "http://128.0.0.1", "http://[::2]"),
    *("http://127.0.0.1.example.com", "http://user@a", "http://[::1", "http://", "", "localhost"),
)


@pytest.mark.parametrize(("url", "expected"), [*((url, True) for url in LOCAL), *((url, False) for url in OTHER)])
def test_all_names_and_addresses_of_this_machine_are_known(url, expected):
    """Those of IPv4, of IPv6, and of all interfaces; an invalid URL is not this machine."""
    assert is_this_machine(url) is expected


def test_the_platform_is_not_imported_for_it():
    """The command `messages` decides about proxies before it starts a stack."""
    code = "import sys; import llama_stack_provider_messages.upstream.this_machine; print('llama_stack' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
