#!/bin/sh
# For any scheduler with array jobs. Fill in its directives: {{parts}} tasks, at most {{at_once}} at once, {{cpus}} cores,
# {{time_limit}}, SIGTERM {{grace_seconds}} s before the end, run again after the exit codes 3, 4 and 130.
#
# And its variable for the index of the array, which counts from 1:
index="$INDEX"
exec {{command}} --part "$index/{{parts}}" --take-over
