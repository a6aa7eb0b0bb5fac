#!/bin/sh
# Runs one worker of a training on several machines, and starts it again if it fails.
#
#     worker.sh INDEX HOST,HOST,... RUN_FOLDER ARGUMENTS OF "reskeras train" ...
#
# INDEX is the place of this machine in the list of hosts, from 0 on.  All machines see RUN_FOLDER and the data under the same
# path.  If the folder has a checkpoint, the training is resumed from it, with its own options: the batch size counts all
# workers together, so the list may have another number of hosts than before.
#
# PORT (12345) must be free on each machine and reachable from the others.  ATTEMPTS (5) is how often the training is started;
# PAUSE (30) is the number of seconds before the next attempt, in which the other workers notice that one is lost, and stop too.
set -eu
index=$1 hosts=$2 run=$3
shift 3

addresses=$(echo "$hosts" | sed "s/[^,][^,]*/\"&:${PORT:-12345}\"/g")
TF_CONFIG="{\"cluster\": {\"worker\": [$addresses]}, \"task\": {\"type\": \"worker\", \"index\": $index}}"
export TF_CONFIG

code=0 attempt=1
while [ "$attempt" -le "${ATTEMPTS:-5}" ]; do
    [ "$attempt" = 1 ] || sleep "${PAUSE:-30}"
    if [ -e "$run/checkpoint.npz" ]; then
        set -- --resume "$run"
    else
        if [ -e "$run" ] && [ "$index" = 0 ]; then      # it failed before its first checkpoint
            mv "$run" "$run.failed.$(date +%s)"
        fi
        [ "${1:-}" = --resume ] || [ "${made:-}" ] || { set -- "$@" --output "$run"; made=1; }
    fi
    code=0
    reskeras train "$@" --strategy multi_worker || code=$?
    [ "$code" != 0 ] || exit 0
    case $code in
        2 | 130 | 143) break ;;     # a wrong argument, which no attempt mends; Ctrl-C; SIGTERM
    esac
    echo "worker $index: attempt $attempt ended with $code" >&2
    attempt=$((attempt + 1))
done
exit "$code"
