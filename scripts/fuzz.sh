#!/usr/bin/env bash
# A minute of fuzzing for each reader of strangers' files; MINUTES and SEED change that.
#   scripts/fuzz.sh                    all of them
#   scripts/fuzz.sh logs weights       these
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
export OMP_NUM_THREADS=1
targets=("$@")
[ $# -gt 0 ] || targets=(logs labels predictions shards runs weights files)
failed=0
for target in "${targets[@]}"; do
  if [ "$target" = files ]; then # pictures and PDFs
    "$python" -m tests.fuzz.files --minutes "${MINUTES:-1}" --seed "${SEED:-1}" || failed=1
  else
    "$python" -m tests.fuzz.readers "$target" --minutes "${MINUTES:-1}" --seed "${SEED:-1}" || failed=1
  fi
done
exit "$failed"
