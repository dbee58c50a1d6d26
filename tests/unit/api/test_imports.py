"""What importing the package loads."""

import subprocess
import sys

import pytest

HEAVY = ("fastapi", "starlette", "llama_stack", "llama_stack_api", "openai", "httpx")


@pytest.mark.parametrize("module", ["", ".models", ".errors", ".request_body"])
def test_models_and_errors_load_neither_fastapi_nor_the_platform(module):
    """A program that needs the wire types only does not wait for a server's imports."""
    code = (
        f"import sys, llama_stack_api_messages{module}\n"
        f"print([name for name in {HEAVY} if name in sys.modules], len(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, count = run.stdout.strip().rsplit(" ", 1)
    assert loaded == "[]"
    assert int(count) < 450


def test_the_names_that_the_platform_looks_up_are_attributes():
    """They are loaded on first use; unknown names are still an AttributeError."""
    import llama_stack_api_messages

    assert callable(llama_stack_api_messages.create_router)
    assert callable(llama_stack_api_messages.available_providers)
    assert not hasattr(llama_stack_api_messages, "create_routes")
