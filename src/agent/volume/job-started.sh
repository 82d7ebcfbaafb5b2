#!/bin/sh
# podkey: masks and exports the job's secrets before its first step, or fails the job.
exec "${0%/*}/podkey-agent" job-started "$@"
