#!/bin/sh
# A Slurm of one's own on loopback: munged, slurmctld and slurmds in a folder, with nothing outside it.
#
#   instance.sh start DIR [NODES]     writes DIR/env, to be sourced by those who use it
#   instance.sh stop DIR
#
# Needs the Debian packages slurmctld, slurmd, slurm-client and munge, and root for several slurmds on one host.
set -eu

say() {
    printf 'slurm: %s\n' "$*" >&2
}

# Five ports after each other that nobody uses, near the number of this process.
free_ports() {
    base=$((20000 + $$ % 20000))
    while ss -ltn 2>/dev/null | grep -Eq ":($base|$((base + 1))|$((base + 2))|$((base + 3))|$((base + 4))) "; do
        base=$((base + 7))
    done
    echo "$base"
}

start() {
    dir=$(mkdir -p "$1" && cd "$1" && pwd)
    nodes=${2:-2}
    mkdir -p "$dir/state" "$dir/munge"
    chmod 700 "$dir/munge"
    dd if=/dev/urandom of="$dir/munge/key" bs=1024 count=1 2>/dev/null
    chmod 400 "$dir/munge/key"
    /usr/sbin/munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
        --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
    port=$(free_ports)
    host=$(hostname -s)
    user=$(id -un)
    cat >"$dir/slurm.conf" <<EOF
ClusterName=private
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmctldPidFile=$dir/slurmctld.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmdLogFile=$dir/slurmd-%n.log
SlurmdSpoolDir=$dir/spool-%n
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=0
MinJobAge=10
ReturnToService=2
SlurmdTimeout=10
InactiveLimit=0
KillWait=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
EOF
    n=0
    while [ "$n" -lt "$nodes" ]; do
        mkdir -p "$dir/spool-node$n"
        echo "NodeName=node$n NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1 + n)) CPUs=2 State=UNKNOWN" >>"$dir/slurm.conf"
        n=$((n + 1))
    done
    echo "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4" >>"$dir/slurm.conf"
    # No cgroups: a container may have none. Before 23.02 there is no word for that; this plugin looks for them only when used.
    case $(/usr/sbin/slurmd -V) in
        *" 22."*) echo "CgroupPlugin=cgroup/v1" >"$dir/cgroup.conf" ;;
        *) echo "CgroupPlugin=disabled" >"$dir/cgroup.conf" ;;
    esac
    printf 'export SLURM_CONF=%s\n' "$dir/slurm.conf" >"$dir/env"
    SLURM_CONF=$dir/slurm.conf
    export SLURM_CONF
    /usr/sbin/slurmctld -f "$dir/slurm.conf"
    n=0
    while [ "$n" -lt "$nodes" ]; do
        /usr/sbin/slurmd -f "$dir/slurm.conf" -N "node$n" || {
            say "slurmd does not start"
            tail -n 5 "$dir/slurmd-node$n.log" >&2
            stop "$dir"
            exit 1
        }
        n=$((n + 1))
    done
    tries=0
    until [ "$(sinfo -h -o '%D %t' 2>/dev/null)" = "$nodes idle" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 60 ]; then
            say "the nodes do not come up: $(sinfo -h -o '%D %t' 2>&1)"
            for log in "$dir"/*.log; do tail -n 5 "$log" >&2; done
            stop "$dir"
            exit 1
        fi
        sleep 1
    done
}

# Ends what `start` started, by its process ids.
stop() {
    dir=$1
    for pid in "$dir"/slurmd-*.pid "$dir/slurmctld.pid" "$dir/munge/pid"; do
        if [ -f "$pid" ]; then
            kill "$(cat "$pid")" 2>/dev/null || true
        fi
    done
}

case ${1:-} in
    start) start "$2" "${3:-2}" ;;
    stop) stop "$2" ;;
    *) sed -n '2,8p' "$0" >&2; exit 2 ;;
esac
