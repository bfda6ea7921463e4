#!/usr/bin/env bash
# Writes a report with every part and tries it in headless Chromium.
#   run_browser_test.sh CACHE WRITE_SAMPLE_REPORT
set -euo pipefail
python=$1/browser-python/bin/python
if [ ! -x "$python" ]; then
  echo "skipped: the packages of scripts/browser-python.txt are not installed; scripts/setup --tests installs them" >&2
  exit 77
fi
if ! command -v chromium >/dev/null; then
  echo "skipped: chromium is not installed; scripts/setup --tests installs it" >&2
  exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$2" "$folder/report.html"
PYTHONDONTWRITEBYTECODE=1 "$python" "$(dirname "$0")/browser_test.py" "$folder/report.html"
