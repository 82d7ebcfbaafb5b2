#!/bin/sh
# podkey: masks and exports the job's secrets before its first step, or fails the job.
agent="${0%/*}/podkey-agent"
[ -x "$agent" ] || { echo "::error::podkey: there are no secrets: $agent cannot be executed (not there, or in a volume mounted noexec)"; exit 1; }
exec "$agent" job-started "$@"
