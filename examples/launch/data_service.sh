#!/bin/sh
# Runs one machine of a tf.data service, which reads and augments the images of a training.
#
#     data_service.sh INDEX HOST,HOST,...
#
# INDEX is the place of this machine in the list of hosts, from 0 on.  Each machine runs a worker, the first one the dispatcher
# too.  All see the images under the path that the training names, which is started with `--data-service HOST0:5000`.
#
# What ends is started again after PAUSE (5) seconds.  Nothing is lost then: the training makes what a worker had begun.
# PORT (5000) of the dispatcher and WORKER_PORT (5001) must be free, and reachable from the other machines.
set -u
index=$1 hosts=$2 dispatcher=""

keep() {
    while :; do
        "$@" &
        child=$!
        trap 'kill $child $dispatcher 2>/dev/null; exit 143' INT TERM
        wait $child
        echo "machine $index: $* ended with $?" >&2
        sleep "${PAUSE:-5}"
    done
}

if [ "$index" = 0 ]; then
    keep reskeras data-service dispatcher --port "${PORT:-5000}" &
    dispatcher=$!
fi
keep reskeras data-service worker --dispatcher "${hosts%%,*}:${PORT:-5000}" --port "${WORKER_PORT:-5001}"
