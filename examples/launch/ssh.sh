#!/bin/sh
# Starts a worker on each machine over SSH, and waits for all.
#
#     ssh.sh HOST,HOST,... RUN_FOLDER ARGUMENTS OF "reskeras train" ...
#
# On each machine this folder has the same path, and `reskeras` is found by the shell that SSH starts.
# REMOTE (ssh) is the command that takes a host and a command line.
set -eu
hosts=$1
shift
folder=$(cd "$(dirname "$0")" && pwd)

quoted=""
for word in "$@"; do        # the remote shell reads the line once more
    quoted="$quoted '$(printf %s "$word" | sed "s/'/'\\\\''/g")'"
done

pids="" index=0
for host in $(echo "$hosts" | tr , ' '); do
    ${REMOTE:-ssh} "$host" "PORT='${PORT:-12345}' ATTEMPTS='${ATTEMPTS:-5}' PAUSE='${PAUSE:-30}' \
sh '$folder/worker.sh' $index '$hosts'$quoted" &
    pids="$pids $!"
    index=$((index + 1))
done

code=0
for pid in $pids; do
    wait "$pid" || code=$?
done
exit "$code"
