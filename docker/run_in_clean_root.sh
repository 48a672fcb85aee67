#!/bin/sh
# Executes the Dockerfile's steps for the target `cpu` without a container engine, then uses what came out: as the image's
# user, in a login shell, `wsss --help` and the dense CRF on one image.
#
#   sudo sh docker/run_in_clean_root.sh FOLDER [TORCH_INDEX=URL]      # some 20 minutes; FOLDER must be new
#
# Each stage is a root folder of its own, and its commands run in it by chroot, so nothing of this machine is there to
# help. Needed: Linux, root, debootstrap. A minimal Debian with its own Python and its headers stands in for
# python:3.11-slim, which brings both and which nothing but a registry has; where the index of CPU builds cannot be
# reached, TORCH_INDEX=URL of any index will do, at the price of CUDA libraries that are never used. Where pip and apt
# find packages is taken from this machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
context=$(dirname "$here")
roots=$1
shift
mkdir "$roots"
roots=$(cd "$roots" && pwd)
program=$roots/program.sh
python3 "$here/dockerfile_steps.py" "$here/Dockerfile" cpu "$@" > "$program"

base=$roots/base
mirror=$(sed -n -E 's/^(deb|URIs:) +([^ ]+).*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)
debootstrap --variant=minbase --include=python3,python3-dev,python3-venv,python-is-python3,ca-certificates bookworm "$base" "$mirror" \
  > "$roots/debootstrap.log"
for file in /etc/resolv.conf /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  if [ -e "$file" ]; then cp -L "$file" "$base$file"; fi
done
export -p | grep -E '^export (PIP_INDEX_URL|PIP_EXTRA_INDEX_URL|PIP_CERT|PIP_DEFAULT_TIMEOUT|https?_proxy|no_proxy)=' \
  > "$roots/network.settings" || true

stage() { # NAME BASE: a copy of the base's root and settings
  echo "== stage $1 (from ${2:-the base image})"
  root=$roots/$1
  cp -a --reflink=auto "$roots/${2:-base}" "$root"
  if [ -n "$2" ]; then cp "$roots/$2.settings" "$roots/$1.settings"; else
    printf 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport PATH\nWORKDIR=/\nRUNUSER=root\n' > "$roots/$1.settings"
  fi
  settings=$roots/$1.settings
}
set_env() { printf '%s="%s"\nexport %s\n' "$1" "$2" "$1" >> "$settings"; }
workdir() { printf 'WORKDIR=%s\n' "$1" >> "$settings"; mkdir -p "$root$1"; }
user() { printf 'RUNUSER=%s\n' "$1" >> "$settings"; }
run() {
  printf -- '-- RUN %s\n' "$1"
  # A process without this machine's variables; of the system's folders it gets /proc, which Python looks at.
  env -i sh -c '
    . "$1" && . "$2"
    mount -t proc proc "$3/proc"
    status=0
    chroot --userspec="$RUNUSER" "$3" /bin/sh -c "cd $WORKDIR && $4" || status=$?
    umount "$3/proc"
    exit $status' run "$roots/network.settings" "$settings" "$root" "$1"
}
copy() { # SOURCE TARGET, from the repository, without what .dockerignore names
  echo "-- COPY $1 $2"
  target=$root$(. "$settings" && realpath -m "$WORKDIR/$2")
  mkdir -p "$target"
  set -f
  if [ "$1" = . ]; then
    (cd "$context" && tar -c $(sed -E 's#^\*\*/#--exclude=#; t; s#^#--exclude=./#' .dockerignore) .) | tar -x -C "$target"
  elif [ -d "$context/$1" ]; then
    (cd "$context/$1" && tar -c .) | tar -x -C "$target"
  else
    (cd "$context" && tar -c "./$1") | tar -x -C "$target"
  fi
  set +f
}
copy_from() { # STAGE SOURCE TARGET
  echo "-- COPY --from=$1 $2 $3"
  mkdir -p "$root$(dirname "$3")"
  cp -a --reflink=auto "$roots/$1$2" "$root$3"
}

. "$program"

echo "== the image's own user"
run 'id -un && test -w /home/ray && wsss --help > /dev/null && echo "wsss --help: done"'
run 'bash -lc "command -v ray wsss rsync ssh wget"'
cp "$here/refine_one_image.py" "$root/tmp/"
run 'python /tmp/refine_one_image.py'
du -sh "$root" "$root/opt/wsss" | sed "s#$roots/##"
