#!/usr/bin/env python3
"""Copies chosen members of a wheel: unpack_wheel.py WHEEL PATTERN=TARGET...

PATTERN is a shell pattern over member names. TARGET is a file or, when it ends in '/', a folder;
there a member keeps the part of its path after '//' in PATTERN, or only its base name.
A pattern that matches nothing, or several members for one file, is an error.
"""

import fnmatch
import os
import shutil
import sys
import zipfile


def copy_member(archive, member, target):
    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    with archive.open(member) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)


def unpack(archive, rule):
    pattern, target = rule.split("=", 1)
    root, keeps_path, rest = pattern.rpartition("//")
    pattern = f"{root}/{rest}" if keeps_path else pattern
    names = [n for n in fnmatch.filter(archive.namelist(), pattern) if not n.endswith("/")]
    if not names:
        raise SystemExit(f"{archive.filename}: expected a member like {pattern}, got none")
    if not target.endswith("/") and len(names) > 1:
        raise SystemExit(f"{archive.filename}: expected one member like {pattern}, got {names}")
    for name in names:
        kept = name.removeprefix(f"{root}/") if keeps_path else os.path.basename(name)
        copy_member(archive, name, target + kept if target.endswith("/") else target)


def main(argv):
    if len(argv) < 3:
        raise SystemExit(__doc__)
    with zipfile.ZipFile(argv[1]) as archive:
        for rule in argv[2:]:
            unpack(archive, rule)


if __name__ == "__main__":
    main(sys.argv)
