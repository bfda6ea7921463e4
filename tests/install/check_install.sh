#!/usr/bin/env bash
# Installs a build into an empty folder and starts every program from there.
#   check_install.sh BUILD_FOLDER
set -euo pipefail
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
cmake --install "$1" --prefix "$prefix" >/dev/null
for program in entrain entrain-coordinator entrain-worker entrain-trainer entrain-supervisor entrain-rsh-agent; do
  "$prefix/bin/$program" --version || { echo "$program does not start where it was installed" >&2; exit 1; }
done
[ -e "$prefix/lib/entrain/libentrain_collective_mpi.so" ] || { echo "the MPI back end was not installed" >&2; exit 1; }
