#!/bin/bash
# Becomes the head or a node of the cluster: start head|node. They share the key by which they trust each other.
set -euo pipefail
key=/etc/munge/munge.key

if [[ $1 == head && ! -s $key ]]; then
    (umask 077 && head -c 128 /dev/urandom > $key.new && mv $key.new $key)
fi
until [[ -s $key ]]; do
    sleep 0.2
done
chown munge:munge /etc/munge $key
install -d -o munge -g munge /run/munge
setpriv --reuid munge --regid munge --clear-groups munged

case $1 in
    head) exec setpriv --reuid slurm --regid slurm --init-groups slurmctld -D ;;
    node)
        mkdir -p /var/lib/slurm/spool
        exec slurmd -D
        ;;
    *) echo "usage: start head|node" >&2 && exit 2 ;;
esac
