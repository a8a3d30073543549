#!/usr/bin/env bash
# Builds a container image of this checkout and tries it the way an operator runs it: `make container`.
#
#   scripts/check_container.sh [DOCKERFILE]
#
# Needs a Docker engine and curl, and network for the build. $DOCKER is the command ("sudo docker", for instance). What
# it starts and makes is called pluggably-check… and is removed at the end; the image pluggably:check stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dockerfile=${1:-Dockerfile}
read -ra docker <<<"${DOCKER:-docker}"
name=pluggably-check
failed=0
# What docs/install.md recommends.
bounds=(--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges)

remove() {
  "${docker[@]}" rm --force --volumes "$name" >/dev/null 2>&1 || true
}

cleanup() {
  remove
  "${docker[@]}" volume rm "$name" >/dev/null 2>&1 || true
}
trap cleanup EXIT

# expect WHAT GOT WANTED
expect() {
  if [[ $2 == "$3" ]]; then
    echo "ok      $1"
  else
    echo "FAILED  $1: got '$2', wanted '$3'"
    failed=1
  fi
}

# start MORE… starts a gateway on the volume and waits until its own health check is content.
start() {
  local state=starting
  remove
  "${docker[@]}" run --detach --name "$name" --publish 127.0.0.1::8080 --volume "$name:/data" "${bounds[@]}" "$@" \
    pluggably:check >/dev/null
  for _ in {1..90}; do
    state=$("${docker[@]}" inspect --format '{{.State.Health.Status}}' "$name")
    if [[ $state != starting ]]; then break; fi
    sleep 1
  done
  expect "it becomes healthy" "$state" healthy
  address=$("${docker[@]}" port "$name" 8080/tcp | head -n 1)
}

inside() {
  "${docker[@]}" exec "$name" "$@"
}

# status KEY of GET /v1/me
status() {
  curl --silent --output /dev/null --max-time 10 --write-out '%{http_code}' --header "Authorization: Bearer $1" \
    "http://$address/v1/me" || true
}

# refusal WORDS ARGUMENTS… of a `docker run` that is to fail: its exit code, and the words if it says them.
refusal() {
  local code=0 said
  said=$("${docker[@]}" run --rm --name "$name" "${bounds[@]}" "${@:2}" 2>&1) || code=$?
  echo "$code $(grep --only-matching --max-count 1 "$1" <<<"$said" || true)"
}

cleanup
"${docker[@]}" build --file "$dockerfile" --tag pluggably:check .

start
expect "it is not root" "$(inside id -u)" 10001
expect "an admin key is in a file that its owner alone can read" "$(inside stat -c %a /data/admin-key)" 600
key=$(inside cat /data/admin-key)
expect "the key is taken" "$(status "$key")" 200
expect "another one is not" "$(status "plg_wrong")" 401
answer=$(curl --silent --max-time 120 "http://$address/v1/generations" --header "Authorization: Bearer $key" \
  --header 'Content-Type: application/json' --data '{"model": "demo", "input": "Why is the sky blue?"}' || true)
expect "the demo model answers" "$(grep --only-matching --max-count 1 'Sunlight scatters' <<<"$answer" | head -n 1)" \
  "Sunlight scatters"
expect "the command line inside finds the gateway" "$(inside pluggably models | grep -c '^demo ')" 1
"${docker[@]}" stop --time 45 "$name" >/dev/null
expect "it ends in order" "$("${docker[@]}" inspect --format '{{.State.ExitCode}}' "$name")" 0

start
expect "the key outlives the container" "$(status "$key")" 200
remove

start --user 10001:10001 --env PLUGGABLY_ADMIN_KEY=a-key-of-the-operators-own-choice.1
expect "a key by environment is taken" "$(status a-key-of-the-operators-own-choice.1)" 200
remove

expect "another user's data directory is refused" \
  "$(refusal "cannot be written" --user 4321:4321 --volume "$name:/data" pluggably:check)" "2 cannot be written"
expect "a wrong option is refused" "$(refusal "unrecognized" pluggably:check serve --prot 1)" "2 unrecognized"

"${docker[@]}" image inspect --format 'pluggably:check has {{.Size}} bytes.' pluggably:check
exit "$failed"
