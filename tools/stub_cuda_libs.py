#!/usr/bin/env python3
"""Makes PyPI's torch load on a machine without CUDA: stub_cuda_libs.py SITE_PACKAGES

The torch wheel links gigabytes of NVIDIA libraries that a CPU run never calls. For each of them
this builds, beside torch's own libraries, a stub whose functions all return an error.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

NVIDIA_LIB = re.compile(r"lib(?:cu|nv|nccl)\w*\.so[.\d]*")
NVIDIA_SYMBOL = re.compile(
    r"_*cu(da|blas|dnn|fft|File|pti|solver|sparse)\w+|nccl\w+|nv(rtc|shmem)\w+"
)
CUDA_ERROR_NO_DEVICE = 100
# torch prints what these return, so they must return text.
TEXT_FUNCTION = re.compile(r"(cuda|cudnn|cusparse|nccl)GetError(String|Name)|ncclGetLastError")


def run(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def version_owners(libraries):
    """Maps each symbol version that the libraries ask for to the file they ask it of."""
    owners = {}
    for line in run("readelf", "--wide", "--version-info", *libraries).splitlines():
        if match := re.search(r"File: (\S+)", line):
            soname = match[1]
        elif match := re.search(r"Name: (\S+)  Flags", line):
            owners[match[1]] = soname
    return owners


def undefined_symbols(libraries):
    """Names of the missing NVIDIA functions by symbol version ('' for none)."""
    symbols = collections.defaultdict(set)
    listing = run("nm", "--dynamic", "--undefined-only", "--with-symbol-versions",
                  "--format=just-symbols", *libraries)
    for line in listing.splitlines():
        name, _, version = line.partition("@")
        if NVIDIA_SYMBOL.fullmatch(name):
            symbols[version.lstrip("@")].add(name)
    return symbols


def definition(function):
    if TEXT_FUNCTION.fullmatch(function):
        return f'const char* {function}(void) {{ return "no CUDA device"; }}\n'
    return f"int {function}(void) {{ return {CUDA_ERROR_NO_DEVICE}; }}\n"


def build_stub(lib_dir, soname, versions, unversioned):
    functions = unversioned.union(*versions.values())
    body = "".join(definition(f) for f in sorted(functions))
    script = "".join(f"{v} {{ {'; '.join(sorted(names))}; }};\n" for v, names in versions.items())
    with tempfile.TemporaryDirectory() as scratch:
        source = pathlib.Path(scratch) / "stub.c"
        source.write_text(body)
        version_script = pathlib.Path(scratch) / "stub.map"
        version_script.write_text(script)
        flags = [f"-Wl,--version-script={version_script}"] if script else []
        run("gcc", "-shared", "-fPIC", "-o", str(lib_dir / soname), f"-Wl,-soname,{soname}",
            *flags, str(source))


def main(site_packages):
    lib_dir = pathlib.Path(site_packages) / "torch" / "lib"
    libraries = [str(path) for path in sorted(lib_dir.glob("*.so"))]
    if not libraries:
        raise SystemExit(f"{lib_dir}: expected torch's libraries, got none")
    owners = version_owners(libraries)
    symbols = undefined_symbols(libraries)
    for soname in sorted(set(NVIDIA_LIB.findall(run("readelf", "--dynamic", *libraries)))):
        versions = {v: names for v, names in symbols.items() if owners.get(v) == soname}
        build_stub(lib_dir, soname, versions, symbols[""])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
