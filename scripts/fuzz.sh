#!/usr/bin/env bash
# A minute of fuzzing for each reader of strangers' files, and for the operators' borders; MINUTES and
# SEED change that. Readers are guided by coverage of khmer_fast's lines; images by libFuzzer where
# atheris is installed (pip install atheris), which keeps its finds in CORPUS.
#   scripts/fuzz.sh                    all of them
#   scripts/fuzz.sh logs weights       these
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
export OMP_NUM_THREADS=1
targets=("$@")
[ $# -gt 0 ] || targets=(logs labels predictions shards runs weights images files ops)
time=(--minutes "${MINUTES:-1}" --seed "${SEED:-1}")
failed=0
for target in "${targets[@]}"; do
  case "$target" in
    images)
      if "$python" -c 'import atheris' 2>/dev/null; then
        time+=(--guided "${CORPUS:-${TMPDIR:-/tmp}/khmer_fast_fuzz_images}")
      fi
      "$python" -m tests.fuzz.images "${time[@]}" || failed=1
      time=("${time[@]:0:4}")
      ;;
    files | ops) "$python" -m "tests.fuzz.$target" "${time[@]}" || failed=1 ;;
    *) "$python" -m tests.fuzz.readers "$target" "${time[@]}" || failed=1 ;;
  esac
done
exit "$failed"
