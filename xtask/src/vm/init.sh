#!/usr/bin/busybox sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount() { busybox mount "$@"; }
mount -t proc proc /proc
mount -t sysfs sys /sys
[ -c /dev/null ] || mount -t devtmpfs dev /dev
mount -t tmpfs run /run
busybox mkdir -p /dev/shm && mount -t tmpfs shm /dev/shm
mount -t tracefs trace /sys/kernel/tracing
mount -t securityfs security /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t configfs config /sys/kernel/config
busybox ln -sf /proc/self/fd /dev/fd
ip link set lo up

# The host's order of battle: `name=value` words of the kernel's command line.
for word in $(busybox cat /proc/cmdline); do
    case $word in
    guest.*=*) export "GUEST_$(echo "${word%%=*}" | busybox cut -d. -f2 | busybox tr a-z A-Z)=${word#*=}" ;;
    esac
done
if [ "$GUEST_CGROUP" = 1 ]; then
    mount -t tmpfs cgroup /sys/fs/cgroup
    for controller in cpu memory; do
        busybox mkdir "/sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
    done
else
    mount -t cgroup2 cgroup /sys/fs/cgroup
fi

exec >/dev/ttyS1 2>&1
echo "@@ doctor"
/profiler doctor --json
if [ "$GUEST_COST" = 1 ]; then
    echo "@@ cost"
    centiseconds() { read -r up _ </proc/uptime; echo "${up%.*}${up#*.}"; }
    for _ in 1 2 3; do
        begin=$(centiseconds)
        /profiler report --tick 100ms --for 100ms >/dev/null
        end=$(centiseconds)
        echo "took $((end - begin)) centiseconds"
    done
    (while :; do busybox true; done) &
    load=$!
    # The whole report is long, and this line slow.
    /profiler report --tick 250ms --for 2s --format json | busybox grep -o '"self_cpu_ratio":[^,}]*'
    kill $load
fi
echo "@@ tests"
cd /tmp
IFS=,
args=$GUEST_TESTS
for name in $GUEST_SKIPPED; do args="--skip,$name,$args"; done
# shellcheck disable=SC2086
/tests --test-threads=1 --show-output $args &
tests=$!
# Should it hang, this tells where, before the host's patience ends: `w` what the kernel waits for, `l` what CPUs do. On the
# console: a guest that is only slow is still writing its results.
hung() {
    busybox sleep 600
    echo 9 >/proc/sys/kernel/printk
    for key in w l; do echo $key >/proc/sysrq-trigger; done
    for thread in /proc/[0-9]*/task/[0-9]*; do
        [ -s "$thread/cmdline" ] || continue
        echo "$thread $(busybox cat "$thread/comm" "$thread/syscall" | busybox tr '\n' ' ')"
        busybox cat "$thread/stack"
    done
    ss -tinm
}
hung >/dev/console 2>&1 &
wait $tests
echo "@@ ended $?"
busybox poweroff -f
