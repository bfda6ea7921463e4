#!/usr/bin/env bash
# Runs a test of this folder in the virtual environment of the tests, which borrows torch from the set that the build links.
#   run_python_test.sh CACHE TORCH_SITE TEST.py [arguments]
set -euo pipefail
python=$1/python-tests/bin/python torch_site=$2 test=$(dirname "$0")/$3
shift 3
if [ ! -x "$python" ]; then
  echo "skipped: the packages of scripts/python-tests.txt are not installed; scripts/setup --tests installs them" >&2
  exit 77
fi
PYTHONPATH=$torch_site PYTHONDONTWRITEBYTECODE=1 exec "$python" "$test" "$@"
