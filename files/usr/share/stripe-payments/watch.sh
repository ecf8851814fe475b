#!/bin/sh
# Ends a daemon that something has stopped: procd, which starts it again, sees no difference between a process that
# waits and one that is stopped. (One whose event loop hangs ends by itself: watchdog.py.) Runs as the daemon's user,
# outside its jail, where its process has a number that a signal can be sent to.
#
# usage: watch.sh FILE. FILE: where a daemon that is ready writes something else each half a second; there is none
# while it starts, and none after it was stopped in order.

alive=$1
patience=5

# Nothing but builtins in the loop, but for sleep.
uptime() {
	read -r up rest </proc/uptime
	up=${up%%.*}
}

end_daemon() {
	for process in /proc/[0-9]*; do
		if [ -O "$process" ] && grep -q stripe_payments "$process/cmdline" 2>/dev/null; then
			kill -9 "${process#/proc/}"
		fi
	done
	logger -t stripe-payments -p daemon.err "the daemon gave no sign of life for $patience s and was ended"
}

seen=''
since=0
while sleep 1; do
	sign=''
	[ -f "$alive" ] && read -r sign <"$alive"
	uptime
	if [ "$sign" != "$seen" ]; then
		seen=$sign
		since=$up
	elif [ -n "$seen" ] && [ $((up - since)) -ge "$patience" ]; then
		end_daemon
		# once for one sign: the next daemon may need a while
		rm -f "$alive"
		seen=''
	fi
done
