"""The option that writes golden files anew."""


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write what the code gives now into the golden files")
