#!/bin/sh
# podkey: clears the job's secrets after its last step. Never fails the job.
[ -x "${0%/*}/podkey-agent" ] || exit 0
exec "${0%/*}/podkey-agent" job-completed "$@"
