#!/bin/sh
# Collects what `python -m benchmarks.gpu` needs on a machine without a network into carry/, which git
# ignores: wheels that may be missing there, Khmer fonts and the mixture's text for the training part
# (the text from the folder that KHMER_FAST_DATA names), and the module that an earlier call built.
#
#   scripts/carry_for_gpu.sh [call_1.tar.gz]
#
# There: pip install --no-index --find-links carry/wheels rapidfuzz, before the first call.
# PYTHON_VERSION (default 3.12) is that of the machine; PYTHON may name the Python here. FONTS names
# the folders of fonts. Fails where the folder would be larger than 64 MiB.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
PYTHON_VERSION=${PYTHON_VERSION:-3.12}
FONTS=${FONTS:-/usr/share/fonts}
rm -rf carry
mkdir -p carry/wheels carry/fonts

"$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version "$PYTHON_VERSION" \
    --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --platform any -d carry/wheels rapidfuzz "setuptools>=77" ||
    echo "carry_for_gpu.sh: wheels could not be fetched; the machine must have them" >&2
find $FONTS -iname '*khmer*.ttf' -exec cp {} carry/fonts/ \;
[ -n "$(ls carry/fonts)" ] || echo "carry_for_gpu.sh: no Khmer fonts below $FONTS" >&2
if [ -n "${KHMER_FAST_DATA:-}" ]; then
    cp "$KHMER_FAST_DATA"/fonts/*.ttf carry/fonts/ 2>/dev/null || true
    cp -r "$KHMER_FAST_DATA/text" carry/text
fi
if [ $# -gt 0 ]; then
    mkdir carry/unpacked
    tar -xzf "$1" -C carry/unpacked module
    mv carry/unpacked/module carry/module
    rm -r carry/unpacked
fi
size=$(du -sk carry | cut -f1)
[ "$size" -lt 65536 ] || { echo "carry_for_gpu.sh: carry/ has $size KiB, more than 64 MiB" >&2; exit 1; }
du -sh carry/* carry
