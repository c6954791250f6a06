#!/bin/sh
# Builds the sdist and the wheel, installs each into a fresh virtual environment and reads a line.
#
#   scripts/check_package.sh
#
# PYTHON may name the Python; it needs `build`. Everything lies under build/package.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=$PWD/build/package
LINE=$PWD/examples/line.png
rm -rf "$OUT"
mkdir -p "$OUT"

"$PYTHON" -m build --outdir "$OUT" . >"$OUT/build.log" 2>&1 || { tail -20 "$OUT/build.log"; exit 1; }
sdist=$(ls "$OUT"/*.tar.gz)
wheel=$(ls "$OUT"/*.whl)
for wanted in csrc/ops.cpp python_ref/model.py khmer_fast/data_files/ tests/test_parity.py examples/line.png \
    LICENSE; do
    tar tzf "$sdist" | grep -q "/$wanted" || { echo "$sdist lacks $wanted" >&2; exit 1; }
done
for wanted in index.html js/main.js css/base.css fonts/battambang-400.woff2 fonts/OFL.txt; do
    unzip -l "$wheel" | grep -q "khmer_fast/serve/static/$wanted" ||
        { echo "$wheel lacks the page's $wanted" >&2; exit 1; }
done
unzip -p "$wheel" '*.dist-info/METADATA' | grep '^Requires-Dist: torch==' ||
    { echo "$wheel does not pin torch" >&2; exit 1; }

for package in "$sdist" "$wheel"; do
    "$PYTHON" -m venv --clear "$OUT/venv"
    "$OUT/venv/bin/pip" install -q "$package"
    # Away from the repository, so that nothing but the package can be imported.
    (cd / && "$OUT/venv/bin/khmer-fast" read "$LINE")
    echo "$(basename "$package"): installed, read a line"
done
