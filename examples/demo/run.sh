#!/usr/bin/env bash
# Fine-tunes SmolLM2-135M-Instruct to turn messy reminders into JSON and shows what it learnt.
# Fails if it answers less than 80 % of the test split exactly afterwards.
# usage: [SOPHIA=build/sophia] examples/demo/run.sh   (writes under build/demo only)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly kSophia=${SOPHIA:-build/sophia}
readonly kDemo=examples/demo
readonly kOut=build/demo
readonly kModel=.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf
readonly kAdapter=$kOut/adapter
readonly kSystem='Reminder to JSON'
readonly kReminder='gotta give ben umbrella sundy @ 530pm'  # of the test split
readonly kRowsBefore=25
readonly kPercentExpected=80

Title() { printf '\n== %s\n' "$*"; }

Generate() { "$kSophia" generate --model "$kModel" --max-new-tokens 48 "$@"; }

# Evaluate ROWS.jsonl PREDICTIONS.jsonl FLAGS...: prints the exact match on the rows.
Evaluate() {
  local rows=$1 predictions=$2
  shift 2
  Generate --data "$rows" --out "$predictions" --exact-match --batch-size 25 "$@"
}

# Answer FLAGS...: the sample conversation's answer, each line marked.
Answer() { Generate --system "$kSystem" --prompt "$kReminder" "$@" | sed 's/^/  assistant: /'; }

# Matches FILE: "97 of 100 (97.0 %)", what the evaluation wrote there.
Matches() { sed -n 's/^exact match: //p' "$1"; }

main() {
  local needed
  for needed in "$kSophia" "$kModel"; do
    [[ -e $needed ]] && continue
    echo "demo: expected $needed, got no such file; make demo builds and fetches it" >&2
    exit 1
  done
  mkdir -p "$kOut"
  head -n "$kRowsBefore" "$kDemo/test.jsonl" >"$kOut/before.jsonl"

  Title "before training: the first $kRowsBefore of the test split"
  Evaluate "$kOut/before.jsonl" "$kOut/predictions_before.jsonl" | tee "$kOut/before.txt"
  Answer >"$kOut/sample_before.txt"

  Title "training: $kDemo/demo.yaml"
  "$kSophia" train --config "$kDemo/demo.yaml" --out "$kAdapter"

  Title 'after training: the whole test split, none of whose tasks was trained on'
  Evaluate "$kDemo/test.jsonl" "$kOut/predictions_after.jsonl" --adapter "$kAdapter" |
    tee "$kOut/after.txt"
  Answer --adapter "$kAdapter" >"$kOut/sample_after.txt"

  Title 'one conversation'
  echo "  user:      $kReminder"
  echo 'before'
  cat "$kOut/sample_before.txt"
  echo 'after'
  cat "$kOut/sample_after.txt"

  Title 'result'
  echo "before   exact match: $(Matches "$kOut/before.txt"), the first $kRowsBefore rows of the test split"
  echo "after    exact match: $(Matches "$kOut/after.txt"), the whole test split"
  echo "adapter  $kAdapter"
  echo "chat     $kSophia chat --model $kModel --adapter $kAdapter --system '$kSystem'"
  echo '         (it learnt single reminders: /reset before the next one)'

  local right rows
  read -r right _ rows _ < <(Matches "$kOut/after.txt")
  if ((100 * right < kPercentExpected * rows)); then
    echo "demo: expected at least $kPercentExpected % exact matches after training, got $right of $rows" >&2
    exit 1
  fi
}

main "$@"
