#!/usr/bin/env bash
# Runs a test of this folder with helm, kustomize and the schemas that scripts/setup --tests put into the cache folder.
#   run_deploy_test.sh CACHE TEST.py [arguments]
set -euo pipefail
cache=$1 test=$(dirname "$0")/$2
shift 2
if [ ! -x "$cache/k8s-python/bin/python" ] || [ ! -x "$cache/k8s-tools/bin/helm" ] || [ ! -d "$cache/k8s-tools/openapi" ]; then
  echo "skipped: helm, kustomize and the schemas are not installed; scripts/setup --tests installs them" >&2
  exit 77
fi
ENTRAIN_K8S_TOOLS=$cache/k8s-tools PYTHONDONTWRITEBYTECODE=1 exec "$cache/k8s-python/bin/python" "$test" "$@"
