#!/bin/sh
# Starts a worker on each machine over SSH, and waits for all.
#
#     ssh.sh HOST,HOST,... RUN_FOLDER ARGUMENTS OF "reskeras train" ...
#
# On each machine this folder has the same path, and `reskeras` is found by the shell that SSH starts.
# REMOTE (ssh) is the command that takes a host and a command line.  SCRIPT (worker.sh) is what runs on each machine: with
# data_service.sh and a list of hosts alone, a tf.data service, to which a training is pointed by `--data-service HOST0:5000`.
#
# Health: a worker listens on PORT from its start to its end (`nc -z HOST 12345`); log.csv in RUN_FOLDER gets a line for each epoch.
# Restart: worker.sh starts again what fails, with `--resume RUN_FOLDER`.  To go on later, with any number of hosts that divides
# the batch size, run the same command again.
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
    ${REMOTE:-ssh} "$host" "${PORT:+PORT='$PORT'} ${ATTEMPTS:+ATTEMPTS='$ATTEMPTS'} ${PAUSE:+PAUSE='$PAUSE'} \
sh '$folder/${SCRIPT:-worker.sh}' $index '$hosts'$quoted" &
    pids="$pids $!"
    index=$((index + 1))
done

code=0
for pid in $pids; do
    wait "$pid" || code=$?
done
exit "$code"
