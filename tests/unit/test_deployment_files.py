"""The Dockerfile, compose.yaml and systemd unit name what exists; they are not run, because that needs a daemon."""

import re
import shlex

import yaml

from support.stack_process import ROOT

DOCKER = ROOT / "distributions" / "docker"


def test_the_dockerfile_copies_files_that_exist():
    """From the root of the checkout."""
    copies = re.findall(r"^COPY (?!--from)(.*)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    sources = [source for line in copies for source in shlex.split(line)[:-1]]
    assert len(sources) == 8
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_compose_sets_variables_of_the_starter_distribution():
    """Its port is published to the loopback address only."""
    stack = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["stack"]
    starter = (ROOT / "distributions" / "starter" / "run.yaml").read_text()
    assert [name for name in stack["environment"] if f"${{env.{name}:" not in starter] == []
    assert stack["ports"] == ["127.0.0.1:8321:8321"]
    assert (DOCKER / stack["build"]["context"] / stack["build"]["dockerfile"]).resolve() == DOCKER / "Dockerfile"


def test_the_systemd_unit_is_that_of_the_documentation():
    """And leaves more time to stop than a stack needs for its streams."""
    unit = (ROOT / "distributions" / "systemd" / "messages.service").read_text()
    assert f"```ini\n{unit}```" in (ROOT / "docs" / "operations.md").read_text()
    assert "TimeoutStopSec=20" in unit
