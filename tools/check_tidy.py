#!/usr/bin/env python3
"""Runs clang-tidy over sophia/**/*.cc but tests: check_tidy.py [BUILD_DIR]

Flags come from BUILD_DIR/compile_commands.json. A clean file is remembered in BUILD_DIR/tidy by
the hash of everything its result depends on, so only changed files are looked at again. Prints
findings only and fails if there is one.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s+"(sophia/[^"]+)"', re.MULTILINE)


def project_files(path, seen):
    """Adds to `seen` {path: contents} of a file and of all project headers it includes."""
    if path in seen or not path.is_file():
        return
    seen[path] = path.read_bytes()
    for name in INCLUDE.findall(seen[path].decode()):
        project_files(ROOT / name, seen)


def cache_key(entry, common):
    files = {}
    project_files(pathlib.Path(entry["file"]), files)
    digest = hashlib.sha256(common + entry["command"].encode())
    for path in sorted(files):
        digest.update(f"\0{path.relative_to(ROOT)}\0{len(files[path])}\0".encode() + files[path])
    return digest.hexdigest()[:32]


def tidy(entry, build_dir):
    """Returns clang-tidy's findings in the file, or nothing."""
    # The compile commands are GCC's, whose warning options clang does not all know.
    result = subprocess.run(["clang-tidy", "--quiet", "--extra-arg=-Wno-unknown-warning-option",
                             "-p", str(build_dir), entry["file"]], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if result.returncode == 0:
        return ""
    return result.stdout or result.stderr


def main(argv):
    build_dir = (pathlib.Path(argv[1]) if len(argv) > 1 else ROOT / "build").resolve()
    entries = [entry for entry in json.loads((build_dir / "compile_commands.json").read_text())
               if pathlib.Path(entry["file"]).is_relative_to(ROOT / "sophia")
               and not entry["file"].endswith("_test.cc")]
    if not entries:
        raise SystemExit(f"{build_dir}: expected commands for sophia/**/*.cc, got none")

    version = subprocess.run(["clang-tidy", "--version"], check=True, stdout=subprocess.PIPE)
    common = version.stdout + (ROOT / ".clang-tidy").read_bytes()
    cache = build_dir / "tidy"
    cache.mkdir(exist_ok=True)
    keys = {entry["file"]: cache_key(entry, common) for entry in entries}
    stale = [entry for entry in entries if not (cache / keys[entry["file"]]).exists()]
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for entry, findings in zip(stale, pool.map(lambda e: tidy(e, build_dir), stale)):
            if findings:
                failures += 1
                print(findings, flush=True)
            else:
                (cache / keys[entry["file"]]).touch()
    for path in cache.iterdir():
        if path.name not in keys.values():
            path.unlink()
    print(f"clang-tidy: {len(entries)} files, {len(stale)} looked at, {failures} with findings")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
