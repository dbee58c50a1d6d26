"""The option that rewrites golden files, and the fixture that compares with them."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="overwrite the golden files with the current output")


@pytest.fixture
def golden(pytestconfig):
    def compare(path, text):
        if pytestconfig.getoption("--update-golden", default=False):
            path.write_text(text)
        assert path.read_text() == text

    return compare
