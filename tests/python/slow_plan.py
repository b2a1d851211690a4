"""Plans whose whole compilation by libtpu takes minutes."""

import json

import pytest
from cli_support import SMOLLM2, output


def test_the_check_agrees_with_the_compilation():
    arguments = ("plan", "--model", SMOLLM2, "--max-length", 512, "--batch-size", 1, "--json")
    early, full = (json.loads(output(*arguments, *more)) for more in (["--no-confirm"], []))
    assert not early["confirmed"] and full["confirmed"]
    assert early["peak_bytes"] == pytest.approx(full["peak_bytes"], rel=0.05)
