#!/bin/sh
# Builds and tests against the oldest and the newest torch that are supported, each in a fresh
# virtual environment, from a copy of the tracked files (so that no build in place is picked up).
#
#   scripts/check_torch_versions.sh [VERSION...]     (default: 2.10.0 2.15.0)
#
# PYTHON may name the Python. Wheels without CUDA save gigabytes where the index can be reached:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu scripts/check_torch_versions.sh
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=$PWD/build/torch_versions
rm -rf "$OUT"

for version in ${*:-2.10.0 2.15.0}; do
    env=$OUT/$version/venv
    tree=$OUT/$version/tree
    mkdir -p "$tree"
    git ls-files -z | xargs -0 cp --parents -t "$tree"
    "$PYTHON" -m venv "$env"
    "$env/bin/pip" install -q "torch==$version" "setuptools>=77" wheel ninja numpy
    (
        cd "$tree"
        "$env/bin/pip" install -q --no-build-isolation ".[test]"
        found=$("$env/bin/python" -c 'import torch; print(torch.__version__.split("+")[0])')
        if [ "$found" != "$version" ]; then
            echo "torch $version was replaced by $found" >&2
            exit 1
        fi
        "$env/bin/python" -m pytest -q tests/test_ops.py tests/test_parity.py \
            tests/test_attn_gru_sequence.py tests/test_reader.py
        "$env/bin/khmer-fast" read examples/line.png
        "$env/bin/python" -m benchmarks.decode --quick >/dev/null
    )
    echo "torch $version: built, tested"
    rm -rf "$OUT/$version"
done
