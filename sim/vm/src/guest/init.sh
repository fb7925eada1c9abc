#!/bin/busybox sh
# The first process of the guest. It prepares what /daxsim says, runs the jobs one after another, and switches the machine off.
# What the host must know it prints in lines that begin with "daxsim:".

export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/
/bin/busybox mkdir -p /proc /sys /dev /run /out /mnt/pmem /bin /sbin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs run /run
/bin/busybox --install -s /bin 2>/dev/null
mkdir -p /dev/shm /dev/pts && mount -t tmpfs shm /dev/shm
ln -s /run /tmp 2>/dev/null
mount -t tracefs tracing /sys/kernel/tracing
export LD_LIBRARY_PATH="$(cat /daxsim/library-path)"

while read -r module; do insmod "/daxsim/modules/$module" || echo "daxsim: note module $module was not taken"; done < /daxsim/modules.order
# Messages of the kernel would mix with those below; panics come all the same.
echo 3 > /proc/sys/kernel/printk

say() { echo "daxsim: $*" > /dev/console; }
finish() { say "$1"; sync; umount /mnt/pmem 2>/dev/null; umount /out 2>/dev/null; poweroff -f; }

mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 daxsim /out || finish "failed no share with the host"
say "up $(uname -r)"

tracing=/sys/kernel/tracing
cat /proc/cmdline > /out/cmdline
cat /proc/cpuinfo > /out/cpuinfo
cat /proc/iomem > /out/iomem
echo "$(uname -r) ($(uname -v | sed 's/.*\(Debian [^ ]*\).*/\1/'))" > /out/kver

# DIMM number, mode: the namespaces that the jobs use.
while read -r dimm mode; do
    ndctl create-namespace -f -e "namespace$dimm.0" $mode >> /out/ndctl.json 2> /run/ndctl.err ||
        finish "failed ndctl: $(tr '\n' ' ' < /run/ndctl.err)"
done < /daxsim/namespaces
say "namespaces"

define_probes() {
    : > /out/probes.ok
    : > /out/probes.fail
    while read -r probe; do
        event=${probe#*:kp/}
        # Of several definitions of an event the first that the kernel takes is the one.
        [ -e "$tracing/events/kp/${event%% *}" ] && continue
        if echo "$probe" 2>/dev/null >> "$tracing/kprobe_events"; then echo "$probe" >> /out/probes.ok; else echo "$probe" >> /out/probes.fail; fi
    done < /daxsim/probes
    [ -e "$tracing/events/kp/enable" ] && echo 1 > "$tracing/events/kp/enable"
}

enable_events() {
    while read -r event; do
        if [ -e "$tracing/events/$event/enable" ]; then echo 1 > "$tracing/events/$event/enable"; else echo "no event $event" >> /out/probes.fail; fi
    done < /daxsim/events
    tr '\n' ' ' < "$tracing/set_event" > /out/events_enabled.txt
}

# How often each job is done; 0: once, and the kernel traces itself.
passes="$(cat /daxsim/passes)"
if [ "$passes" = 0 ]; then
    echo 0 > "$tracing/tracing_on"
    echo mono > "$tracing/trace_clock"
    cat /daxsim/buffer-kib > "$tracing/buffer_size_kb" || finish "failed no memory for the buffers of the trace"
    define_probes
    enable_events
    say "tracing $(wc -l < /out/probes.ok) probes, $(wc -l < /out/probes.fail) not in this kernel"
fi

# A fresh file system at /mnt/pmem.
make_fs() {
    case $1 in
    ext4)
        mkfs.ext4 -q -F $(cat /daxsim/mkfs-ext4) /dev/pmem0 &&
            mount -t ext4 -o dax=always /dev/pmem0 /mnt/pmem
        ;;
    xfs)
        mkfs.xfs -q -f $(cat /daxsim/mkfs-xfs) /dev/pmem1 && mount -t xfs -o dax=always /dev/pmem1 /mnt/pmem
        ;;
    devdax) [ -c /dev/dax2.0 ] ;;
    esac
}

misses() { awk '{ print $1, $3 }' "$tracing/kprobe_profile"; }

# A job again and again, with nothing on in the kernel. The player marks its lines by stores.
run_marked() {
    job=$1 fs=$2 kind=$3 out=/out/$1 pass=0
    mkdir -p "$out"
    make_fs "$fs" > "$out/mkfs.log" 2>&1 || { say "failed job $job: no file system: $(tail -n 1 "$out/mkfs.log")"; return; }
    while [ "$pass" -lt "$passes" ]; do
        if [ "$kind" = script ]; then
            timeout "$(cat /daxsim/job-seconds)" taskset 1 /usr/bin/daxplay --dir /mnt/pmem --log "$out/oplog.txt" \
                --marks "/daxsim/$job/script.txt" > "$out/play.log" 2>&1
        else
            (
                cd /mnt/pmem || exit 1
                [ "$fs" = devdax ] && cd /run
                PATH=/usr/local/bin:$PATH
                . "/daxsim/$job/command"
            ) > "$out/app.out" 2>&1
        fi
        status=$?
        echo $status > "$out/status"
        [ $status = 0 ] || break
        pass=$((pass + 1))
    done
    umount /mnt/pmem 2> /dev/null
    say "job $job status $status"
}

run_job() {
    job=$1 fs=$2 kind=$3 out=/out/$1
    mkdir -p "$out"
    make_fs "$fs" > "$out/mkfs.log" 2>&1 || { say "failed job $job: no file system: $(tail -n 1 "$out/mkfs.log")"; return; }
    grep ' /mnt/pmem ' /proc/mounts > "$out/mount"
    echo > "$tracing/trace"
    dmesg -c > /dev/null
    misses > /run/misses
    cut -d' ' -f1 /proc/uptime > "$out/uptime"
    if [ "$kind" = script ]; then
        timeout "$(cat /daxsim/job-seconds)" taskset 1 /usr/bin/daxplay --dir /mnt/pmem --log "$out/oplog.txt" \
            --tracing "$tracing" "/daxsim/$job/script.txt" > "$out/play.log" 2>&1
        echo $? > "$out/status"
    else
        (
            cd /mnt/pmem || exit 1
            [ "$fs" = devdax ] && cd /run
            # The command is that of the host, not busybox's of the same name.
            PATH=/usr/local/bin:$PATH
            echo 1 > "$tracing/tracing_on"
            echo "APP start" > "$tracing/trace_marker"
            (. "/daxsim/$job/command") > "$out/app.out" 2>&1
            status=$?
            echo "APP end" > "$tracing/trace_marker"
            echo 0 > "$tracing/tracing_on"
            echo $status > "$out/status"
        )
    fi
    echo 0 > "$tracing/tracing_on"
    for stats in "$tracing"/per_cpu/cpu*/stats; do
        cpu=${stats%/stats}
        sed "s/^/${cpu##*/} /" "$stats"
    done > "$out/stats"
    misses | awk 'NR == FNR { before[$1] = $2; next } $2 > before[$1] { print $1, $2 - before[$1] }' /run/misses - > "$out/kprobe_misses"
    if [ -x /usr/sbin/filefrag ]; then
        find /mnt/pmem -type f | head -n 20 | while read -r file; do filefrag -v "$file"; done > "$out/filefrag_after.txt" 2> /dev/null
    fi
    cat "$tracing/trace" > "$out/trace.txt"
    dmesg > "$out/dmesg"
    umount /mnt/pmem 2> /dev/null
    say "job $job status $(cat "$out/status") lines $(wc -l < "$out/trace.txt")"
}

if [ "$passes" = 0 ]; then run=run_job; else run=run_marked; fi
while read -r job fs kind; do $run "$job" "$fs" "$kind" < /dev/null; done < /daxsim/jobs
finish "done"
