#!/usr/bin/env bash
# Builds and runs the tests: everything in build/ and the unit tests under ASan and UBSan in
# build/asan. Ends with one line `N passed, N failed`; fails if a test failed or none ran.
# usage: tools/run_tests.sh [--slow]   (--slow: the tests labelled `slow` too)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kJobs=$(nproc)
readonly kJobs
passed=0
failed=0

# Attribute NAME FILE: the number that the JUnit report's first element gives NAME.
Attribute() { grep -om1 "\b$1=\"[0-9]*\"" "$2" | tr -dc 0-9; }

# RunTests DIR CTEST_FLAGS...: runs ctest in DIR and adds to the totals.
RunTests() {
  local dir=$1 report=$PWD/$1/tests.xml status=0
  shift
  rm -f "$report"
  ctest --test-dir "$dir" -j "$kJobs" --output-on-failure --no-tests=error \
    --output-junit "$report" "$@" || status=$?
  [[ -e $report ]] || { echo "tests: expected a report from ctest in $dir, got none" >&2; exit 1; }
  local run bad
  run=$(($(Attribute tests "$report") - $(Attribute disabled "$report") - \
    $(Attribute skipped "$report")))
  bad=$(Attribute failures "$report")
  if ((status != 0 && bad == 0)); then bad=1; fi
  failed=$((failed + bad))
  passed=$((passed + run - bad))
}

main() {
  local labels=(-LE '^slow$') group=test
  case ${1:-} in
    '') ;;
    --slow) labels=() group=slow ;;
    *) echo "tests: expected no argument or --slow, got '$1'" >&2; exit 2 ;;
  esac
  tools/setup.sh "$group"
  cmake --preset release --log-level=WARNING
  cmake --build build -j "$kJobs"
  cmake --preset asan --log-level=WARNING
  cmake --build build/asan -j "$kJobs" --target unit_tests
  RunTests build "${labels[@]}"
  RunTests build/asan -L '^unit$' "${labels[@]}"
  echo "$passed passed, $failed failed"
  ((failed == 0 && passed > 0))
}

main "$@"
