#!/bin/sh
# Puts Debian's Prometheus (server and promtool) below the folder $1, without installing it: what the tests of the
# dashboard and of the alert rules run. Where it cannot be had they say so and check less.
set -eu
folder=${1:-$(cd "$(dirname "$0")/.." && pwd)/.prometheus}

if [ -x "$folder/usr/bin/promtool" ] || command -v promtool >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "no apt-get here: install Prometheus by other means to run its tests" >&2
  exit 0
fi
mkdir -p "$folder"
cd "$folder"
apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }
dpkg -x prometheus_*.deb .
rm prometheus_*.deb
usr/bin/promtool --version
