#!/bin/sh
# Runs as the first process of a new mount, PID and UTS namespace; what it does ends with it.
#
# usage: boot_router.sh SCRATCH FILES ROOT. SCRATCH: an empty directory. FILES: what a router has over this machine's own
# root. ROOT: the path by which this machine sees the router's `/`; it is made to mean the same on the router.
# The result: the machine's root with FILES over it, /tmp, /run and /dev of its own, and ubusd, logd and procd running.
# Prints "booted" when the bus and procd answer.

set -e
exec 3<&0 </dev/null
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
scratch=$1
files=$2
root=$3

mount --make-rprivate /
mount -t tmpfs -o mode=755 router "$scratch"
mkdir "$scratch/changes" "$scratch/work" "$scratch/root"
cp -a "$files/." "$scratch/changes/"
mount -t overlay -o "lowerdir=/,upperdir=$scratch/changes,workdir=$scratch/work" overlay "$scratch/root"
cd "$scratch/root"

mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 run run
mkdir -p run/ubus run/lock
# logd makes /dev/log, which must not be this machine's
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
for device in null zero full random urandom tty; do
	: >"dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 pts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

mkdir -p .machine
pivot_root . .machine
cd /
umount -l /.machine
mkdir -p "${root%/*}"
ln -s / "$root"
hostname RouterOS
unset LD_LIBRARY_PATH

ubusd &
until [ -S /var/run/ubus/ubus.sock ]; do sleep 0.05; done
logd -S 256 &
procd -S &
ubus -t 60 wait_for service log
echo booted

# the process that boots a router holds the other end of standard input: however the tests end, the router ends with them
trap 'exit 0' TERM
{ read -r _ || :; kill -TERM $$; } <&3 &

# the first process of a PID namespace inherits every orphan of it
while :; do
	sleep 3600 &
	wait $! || true
done
