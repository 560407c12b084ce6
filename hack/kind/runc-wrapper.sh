#!/bin/sh
# runc for machines whose processes may not have CAP_SYS_RESOURCE: takes out of the OCI spec what needs it (the
# capability in every set, negative oom scores, resource limits), then becomes the real runc. Where the capability is
# there, nothing is changed. Shell and jq, since a Python start would cost each container 30 ms.
set -eu

real="${REAL_RUNC:-/usr/sbin/runc}"

may_have_sys_resource() {
  bounding=$(sed -n 's/^CapBnd:[[:space:]]*//p' "${STATUS_FILE:-/proc/self/status}")
  [ $((0x${bounding} >> 24 & 1)) -eq 1 ]
}

# rewrite FILE PROCESS: FILE is JSON, PROCESS the jq path of its process object.
rewrite() {
  jq -c "$2 |= (
      (if .capabilities then .capabilities |= map_values(map(select(. != \"CAP_SYS_RESOURCE\"))) else . end)
      | (if (.oomScoreAdj // 0) < 0 then .oomScoreAdj = 0 else . end)
      | del(.rlimits))" "$1" >"$1.rewritten"
  cat "$1.rewritten" >"$1"
  rm -f "$1.rewritten"
}

if ! may_have_sys_resource; then
  command='' bundle=. process='' previous=''
  for argument in "$@"; do
    case "$argument" in
      create | run | exec) [ -n "$command" ] || command=$argument ;;
      --bundle=*) bundle=${argument#--bundle=} ;;
      --process=*) process=${argument#--process=} ;;
    esac
    case "$previous" in
      --bundle | -b) bundle=$argument ;;
      --process | -p) process=$argument ;;
    esac
    previous=$argument
  done
  case "$command" in
    create | run) rewrite "$bundle/config.json" .process ;;
    exec) [ -z "$process" ] || rewrite "$process" . ;;
  esac
fi
exec "$real" "$@"
