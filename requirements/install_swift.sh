#!/bin/sh
# Installs OpenStack Swift into an environment of its own, $1 (default .venv-swift beside this folder): the real S3
# server, with real signatures, of tests/contracts. `make test` calls this. Does nothing where it is done.
#
# Swift runs on Linux only (extended attributes); elsewhere this installs nothing, and the tests that need it say so.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-$here/../.venv-swift}
python=${PYTHON:-python3}

if [ -e "$venv/.installed" ] && [ "$venv/.installed" -nt "$here/swift-constraints.txt" ]; then
  exit 0
fi
if [ "$(uname -s)" != Linux ]; then
  echo "OpenStack Swift needs Linux: its tests will be skipped" >&2
  exit 0
fi
"$python" -m venv "$venv"
# PasteDeploy and eventlet still ask for pkg_resources on some versions of Python.
"$venv/bin/pip" install -q --disable-pip-version-check -c "$here/swift-constraints.txt" swift 'setuptools<81'
"$venv/bin/python" -c 'import swift.common.middleware.s3api.s3api'
touch "$venv/.installed"
