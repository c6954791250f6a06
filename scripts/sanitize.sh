#!/bin/sh
# Runs csrc under AddressSanitizer with UndefinedBehaviorSanitizer, and under ThreadSanitizer.
#
#   scripts/sanitize.sh [asan] [tsan] [pytest]     (default: asan tsan)
#
# asan and tsan compile the torch-free sources with each tests/native/*_harness.cpp, since
# ThreadSanitizer does not see libtorch's OpenMP. pytest builds the whole module under asan and runs
# the tests of the operators with it (minutes). CXX and PYTHON may name the compiler and the Python.
set -eu
cd "$(dirname "$0")/.."
CXX=${CXX:-g++}
PYTHON=${PYTHON:-python3}
OUT=build/sanitize
FLAGS="-std=c++20 -O1 -g -fno-omit-frame-pointer -ffp-contract=off -Wno-psabi -Icsrc -pthread"
mkdir -p "$OUT"

harness() { # name, sanitizer flags, models
    objects=
    for source in csrc/cpu/*.cpp; do
        # Without torch's folder its headers are missing ones, which -MG names.
        # shellcheck disable=SC2086
        if $CXX $FLAGS -M -MG "$source" | grep -qE ' (ATen|torch|c10)/'; then continue; fi
        object="$OUT/$(basename "$source" .cpp)_$1.o"
        # shellcheck disable=SC2086
        $CXX $FLAGS $2 -c "$source" -o "$object"
        objects="$objects $object"
    done
    for main in tests/native/*_harness.cpp; do
        program="$OUT/$(basename "$main" .cpp)_$1"
        echo "$1: $main"
        # shellcheck disable=SC2086
        $CXX $FLAGS $2 $objects "$main" -o "$program"
        "$program" "$3"
    done
}

for what in ${*:-asan tsan}; do
    case $what in
    asan)
        export ASAN_OPTIONS=abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
        harness asan "-fsanitize=address,undefined -fno-sanitize-recover=all" 40
        ;;
    tsan)
        TSAN_OPTIONS=halt_on_error=1 harness tsan "-fsanitize=thread" 20
        ;;
    pytest)
        tree="$OUT/tree"
        rm -rf "$tree"
        mkdir -p "$tree"
        cp -r csrc khmer_fast python_ref benchmarks tests setup.py pyproject.toml README.md "$tree"
        (
            cd "$tree"
            export CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all -O1 -g1"
            LDFLAGS="-fsanitize=address,undefined" KHMER_FAST_CUDA=0 \
                "$PYTHON" setup.py build_ext --inplace >build.log 2>&1 || { tail -20 build.log; exit 1; }
            # libtorch and Python never free some of their memory: leaks are the harness's business.
            LD_PRELOAD="$($CXX -print-file-name=libasan.so) $($CXX -print-file-name=libstdc++.so)" \
                ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 \
                "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_ops.py tests/test_parity.py \
                -k "not random_models and not compile and not sentence"
        )
        ;;
    *)
        echo "sanitize.sh: expected asan, tsan or pytest, got $what" >&2
        exit 2
        ;;
    esac
done
