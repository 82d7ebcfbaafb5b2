#!/bin/sh
# podkey: clears the job's secrets after its last step. Never fails the job.
agent="${0%/*}/podkey-agent"
[ -e "$agent" ] || exit 0
[ -x "$agent" ] || { echo "::warning::podkey: the job's secrets were not cleared: $agent cannot be executed (a volume mounted noexec?)"; exit 0; }
exec "$agent" job-completed "$@"
