#!/usr/bin/env python3
"""Regenerates deps.lock from deps.toml: .deps/pip/bin/python tools/lock.py [--keep] (needs the network).

Every wheel is pinned by version and SHA-256 for CPython 3.11 on x86-64 Linux with glibc 2.36
(Debian 12). All groups are resolved at once, so that a package has one version everywhere; a
group lists only what the groups before it lack. With --keep, what is locked keeps its version.
"""

import fnmatch
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON_VERSION = "3.11"
GLIBC_MINOR = 36
HEADER = """\
# Written by tools/lock.py from deps.toml; do not edit.
# CPython {python}, x86-64, glibc 2.{glibc}.
"""


def platform_flags():
    tags = [f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC_MINOR, 4, -1)]
    tags += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    return [flag for tag in tags for flag in ("--platform", tag)]


def resolve(requirements, constraints, with_deps):
    """Returns {normalised name: (version, sha256)} for the requirements and, if asked, theirs."""
    with tempfile.TemporaryDirectory() as scratch:
        pins = pathlib.Path(scratch) / "constraints.txt"
        pins.write_text("".join(f"{n}=={v}\n" for n, (v, _) in constraints.items()))
        report = pathlib.Path(scratch) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run",
                   "--ignore-installed", "--only-binary=:all:", "--target", scratch,
                   "--python-version", PYTHON_VERSION, "--implementation", "cp",
                   "--constraint", str(pins), "--report", str(report), *platform_flags()]
        if not with_deps:
            command.append("--no-deps")
        subprocess.run(command + requirements, check=True)
        wheels = {}
        for item in json.loads(report.read_text())["install"]:
            name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
            sha256 = item["download_info"]["archive_info"]["hashes"]["sha256"]
            wheels[name] = (item["metadata"]["version"], sha256)
        return wheels


def locked_wheels():
    """What deps.lock has, as resolve returns it."""
    lines = re.findall(r"^(\S+)==(\S+) --hash=sha256:(\w+)$", (ROOT / "deps.lock").read_text(), re.MULTILINE)
    return {name: (version, sha256) for name, version, sha256 in lines}


def main():
    if f"{sys.version_info.major}.{sys.version_info.minor}" != PYTHON_VERSION:
        raise SystemExit(f"expected Python {PYTHON_VERSION} with pip, got {sys.version}")
    groups = tomllib.loads((ROOT / "deps.toml").read_text())
    resolved = [g for g in groups.values() if g.get("resolve", True)]
    kept = locked_wheels() if sys.argv[1:] == ["--keep"] else {}
    everything = resolve([r for g in resolved for r in g["requirements"]], kept, with_deps=True)
    lines = [HEADER.format(python=PYTHON_VERSION, glibc=GLIBC_MINOR)]
    locked = set()
    for name, group in groups.items():
        with_deps = group.get("resolve", True)
        pins = everything if with_deps else {}
        wheels = resolve(group["requirements"], pins, with_deps)
        lines.append(f"\n# group: {name}\n")
        for package, (version, sha256) in sorted(wheels.items()):
            excluded = any(fnmatch.fnmatch(package, e) for e in group.get("exclude", []))
            if package not in locked and not excluded:
                lines.append(f"{package}=={version} --hash=sha256:{sha256}\n")
                locked.add(package)
    (ROOT / "deps.lock").write_text("".join(lines))


if __name__ == "__main__":
    main()
