"""tools/setup.sh where everything is installed, as it is once the tests run."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize("group", ["build", "test", "format"])
def test_second_run_touches_no_network(group):
    proxies = {name: NOWHERE for proxy in ("http_proxy", "https_proxy", "all_proxy")
               for name in (proxy, proxy.upper())}
    result = subprocess.run([ROOT / "tools" / "setup.sh", group], capture_output=True, text=True,
                            env={**os.environ, **proxies, "no_proxy": "", "NO_PROXY": ""}, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_unknown_group_is_wrong_usage():
    result = subprocess.run([ROOT / "tools" / "setup.sh", "tset"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "expected one of build, test, slow, format, oracle, bench, got 'tset'" in result.stderr
