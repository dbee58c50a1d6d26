"""The option that writes golden files anew, and the fixture that compares with them."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write what the code gives now into the golden files")


@pytest.fixture
def golden(pytestconfig):
    def compare(path, text):
        if pytestconfig.getoption("--update-golden", default=False):
            path.write_text(text)
        assert path.read_text() == text

    return compare
