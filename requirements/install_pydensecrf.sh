#!/bin/sh
# Installs pydensecrf into the environment whose bin folder is $1.
#
# pydensecrf 1.0rc3 (2018) is a source package without build metadata: it wants Cython 0.29 (its .pyx files use Python 2
# imports), ships C++ that no longer compiles on Python 3.11, and is not rebuilt unless it is told to. On Python 3.13
# only its fork pydensecrf2, built with Cython 3, compiles. Both install the same module. docs/install.md has the details.
#
# Without build isolation: then it does not matter how a version of pip passes constraints to a build's environment, or
# whether it takes the old `setup.py` way where setuptools is installed.
set -eu
bin=$1
here=$(cd "$(dirname "$0")" && pwd)

if "$bin/python" -c 'import pydensecrf.densecrf' 2>/dev/null; then
  exit 0
fi
if "$bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then
  cython='cython<3'
  package=pydensecrf==1.0rc3
else
  cython='cython>=3,<4'
  package=pydensecrf2==1.1
fi
"$bin/pip" install -q -c "$here/constraints.txt" setuptools wheel "$cython"
CYTHON_FORCE_REGEN=1 "$bin/pip" install -q --no-build-isolation --use-pep517 --no-deps "$package"
"$bin/python" -c 'import pydensecrf.densecrf'
