#!/bin/sh
# Whether systemd understands deploy/pluggably.service and its drop-in for GPUs; part of `make check`. Any word of
# systemd-analyze is a failure. Where there is none (macOS, a container) this says so and passes, but not in CI.
set -eu
cd "$(dirname "$0")/.."

if ! command -v systemd-analyze >/dev/null 2>&1; then
	echo "There is no systemd-analyze here: deploy/pluggably.service is not checked."
	if [ -n "${CI:-}" ]; then exit 1; else exit 0; fi
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/pluggably.service.d"
cp deploy/pluggably-gpu.conf "$folder/pluggably.service.d/gpu.conf"
# Its program need not be installed where it is checked.
sed "s#^ExecStart=/opt/pluggably/bin/pluggably#ExecStart=$(command -v true)#" deploy/pluggably.service \
	>"$folder/pluggably.service"
said=$(systemd-analyze verify --man=no --recursive-errors=no "$folder/pluggably.service" 2>&1) ||
	said=${said:-systemd-analyze failed}
if [ -n "$said" ]; then
	echo "$said" >&2
	exit 1
fi
