#!/bin/sh
# Builds and tests against the oldest and the newest torch that are supported, each in a fresh
# virtual environment under build/torch_versions.
#
#   scripts/check_torch_versions.sh [VERSION...]     (default: 2.10.0 2.13.0)
#
# PYTHON may name the Python. Wheels without CUDA save gigabytes where the index can be reached:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu scripts/check_torch_versions.sh
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

for version in ${*:-2.10.0 2.13.0}; do
    env="build/torch_versions/$version"
    rm -rf "$env"
    "$PYTHON" -m venv "$env"
    "$env/bin/pip" install -q "torch==$version" "setuptools>=77" wheel ninja numpy
    "$env/bin/pip" install -q --no-build-isolation ".[test]"
    found=$("$env/bin/python" -c 'import torch; print(torch.__version__.split("+")[0])')
    if [ "$found" != "$version" ]; then
        echo "torch $version was replaced by $found" >&2
        exit 1
    fi
    "$env/bin/python" -m pytest -q tests/test_ops.py tests/test_parity.py
    "$env/bin/python" -m benchmarks.decode --quick >/dev/null
    echo "torch $version: built, tested"
done
