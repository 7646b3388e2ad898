#!/usr/bin/env bash
# AcquireKey at 10,000 keys over one connection, beside a no-op grpc-js echo on the same core, in turns. Prints requests a second
# of each round and the ratio of the medians. Needs h2load (Debian: nghttp2-client) and two cores.
# Run: bash bench/acquire.sh [ROUNDS] [REQUESTS]
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"
rounds=${1:-5} requests=${2:-60000} streams=100
dir=$(mktemp -d)
pids=()
cleanup() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$dir"; }
trap cleanup EXIT

start() { # log file, command: starts it on the first core and waits for the ready line
  local log=$1
  shift
  taskset -c 0 "$@" >"$log" 2>"$log.err" &
  pids+=($!)
  for _ in $(seq 200); do
    grep -q '^ready ' "$log" && return
    sleep 0.05
  done
  cat "$log.err" >&2
  exit 1
}
address() { sed -n 's/^ready grpc=\([^ ]*\).*/\1/p' "$1"; }
rate() { # address, path, body
  taskset -c 1 h2load -n "$requests" -c 1 -m "$streams" -d "$3" -H 'content-type: application/grpc' -H 'te: trailers' \
    "http://$1$2" >"$dir/h2load"
  grep -q "$requests succeeded, 0 failed" "$dir/h2load" || { cat "$dir/h2load" >&2; exit 1; }
  sed -n 's/^finished in .*, \([0-9.]*\) req\/s.*/\1/p' "$dir/h2load"
}

start "$dir/server" node src/cli/main.ts serve --data-dir "$dir/data" --grpc 127.0.0.1:0 --http off
start "$dir/echo" node bench/echo-server.ts
seq -f 'AQ.bench-key-%06g' 10000 >"$dir/keys.txt"
node src/cli/main.ts import "$dir/keys.txt" --data-dir "$dir/data" >/dev/null

# AcquireKeyRequest { model: "gemini-2.5-flash" } behind its 5 bytes of gRPC framing; the echo gets the same.
printf '\x00\x00\x00\x00\x12\x12\x10gemini-2.5-flash' >"$dir/body"
acquire=/keybalancer.v1.KeyBalancerService/AcquireKey
rate "$(address "$dir/server")" $acquire "$dir/body" >/dev/null
rate "$(address "$dir/echo")" /bench.Echo/Echo "$dir/body" >/dev/null
for round in $(seq "$rounds"); do
  rate "$(address "$dir/echo")" /bench.Echo/Echo "$dir/body" >>"$dir/echo.rates"
  rate "$(address "$dir/server")" $acquire "$dir/body" >>"$dir/acquire.rates"
  echo "round $round: echo $(tail -n 1 "$dir/echo.rates"), acquire $(tail -n 1 "$dir/acquire.rates") requests/s"
done
median() { sort -n "$1" | sed -n "$(((rounds + 1) / 2))p"; }
awk -v a="$(median "$dir/acquire.rates")" -v e="$(median "$dir/echo.rates")" 'BEGIN { printf "acquire / echo = %.2f\n", a / e }'
