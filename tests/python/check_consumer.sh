#!/usr/bin/env bash
# Installs the component "attention" into an empty folder, builds a project outside against it, runs it.
#   check_consumer.sh BUILD_DIR TORCH_ROOT CONSUMER_SOURCE
set -euo pipefail
build=$1 torch=$2 source=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --component attention --prefix "$work/prefix" >/dev/null
[ -z "$(find "$work/prefix" -type f | grep -v -i attention)" ]
cmake -S "$source" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" -DENTRAIN_TORCH_ROOT="$torch" \
  -DCMAKE_CXX_FLAGS_INIT=-O0 >/dev/null
cmake --build "$work/build" >"$work/log" 2>&1 || { grep -E 'error|undefined' "$work/log" >&2; exit 1; }
env -u LD_LIBRARY_PATH "$work/build/consumer"
