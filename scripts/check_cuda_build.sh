#!/bin/sh
# Builds with KHMER_FAST_CUDA=1 against a CUDA build of torch and checks what must hold of it on a
# machine without a GPU: it links and loads, its operators are registered, the CPU works, and device
# cuda is one clear sentence.
#
#   scripts/check_cuda_build.sh [TORCH_VERSION]     (default: 2.14.1, which brings CUDA 13.0)
#
# Needs nvcc of torch's CUDA version, 6 GB and minutes. FOLDER (default: build/cuda_build) holds the
# virtual environment and the tree; PYTHON may name the Python. The environment is removed after a
# success unless KEEP=1.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
FOLDER=${FOLDER:-$PWD/build/cuda_build}
VERSION=${1:-2.14.1}
mkdir -p "$FOLDER"

if [ ! -x "$FOLDER/venv/bin/python" ]; then
    "$PYTHON" -m venv "$FOLDER/venv"
    "$FOLDER/venv/bin/pip" install -q "torch==$VERSION" "setuptools>=77" wheel ninja numpy pillow \
        fonttools rapidfuzz safetensors tqdm
fi
rm -rf "$FOLDER/tree"
mkdir "$FOLDER/tree"
cp -r csrc khmer_fast python_ref tests scripts examples setup.py pyproject.toml README.md "$FOLDER/tree"
rm -f "$FOLDER"/tree/_khmer_fast*
cd "$FOLDER/tree"
KHMER_FAST_CUDA=1 "$FOLDER/venv/bin/python" setup.py build_ext --inplace >"$FOLDER/build.log" 2>&1 ||
    { tail -20 "$FOLDER/build.log"; exit 1; }
export PYTHONPATH="$PWD"
"$FOLDER/venv/bin/python" scripts/check_cuda_build.py
"$FOLDER/venv/bin/python" -m khmer_fast read examples/line.png
said=$("$FOLDER/venv/bin/python" -m khmer_fast read --device cuda examples/line.png 2>&1) &&
    { echo "device cuda was taken without a GPU"; exit 1; }
[ "$(echo "$said" | wc -l)" = 1 ] || { echo "$said"; exit 1; }
echo "$said"
echo "torch $VERSION: built with CUDA, linked, loaded"
[ "${KEEP:-0}" = 1 ] || rm -rf "$FOLDER/venv"
