#!/usr/bin/env bash
# Fails with clang-format's own messages if a tracked C++ file is not formatted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mapfile -d '' files < <(git ls-files -z '*.h' '*.cc')
((${#files[@]})) || { echo "check_format: expected tracked C++ files, got none" >&2; exit 1; }
clang-format --dry-run -Werror "${files[@]}"
echo "${#files[@]} files formatted"
