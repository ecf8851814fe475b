#!/bin/sh
# Everything that an installation needs besides its files. May be run again at any time; /etc/uci-defaults runs it
# after the installation and at the first boot of an image.

# shellcheck source=/dev/null
. /lib/functions.sh
# shellcheck source=files/usr/share/stripe-payments/gateway-mount.sh
. /usr/share/stripe-payments/gateway-mount.sh

NAME=stripe-payments
STATE=/etc/stripe-payments

if ! group_exists "$NAME"; then
	group_add_next "$NAME" >/dev/null || exit 1
fi
if ! user_exists "$NAME"; then
	user_add "$NAME" "" "$(sed -n "s/^$NAME:[^:]*:\([0-9]*\):.*/\1/p" /etc/group)" \
		"Stripe payments" /var/run/stripe-payments /bin/false >/dev/null || exit 1
fi

# Settings that a sysupgrade kept belong to the number that the user had in the old system.
mkdir -p "$STATE" /etc/hotplug.d/stripe-payments || exit 1
chmod 0700 "$STATE"
chown "$NAME:$NAME" "$STATE" || exit 1
for file in "$STATE"/*; do
	if [ -f "$file" ] && [ ! -L "$file" ]; then
		chown "$NAME:$NAME" "$file"
		chmod 0600 "$file"
	fi
done

# An upgrade lays what a release ships beside what has changed. The state must not be compared or merged by hand, and
# to uci the one is a configuration of its own.
rm -f /etc/config/stripe-features-opkg /etc/config/stripe-features.apk-new

# ubusd reads its access rules at start and on SIGHUP, and a rule for a user that does not exist yet never matches;
# rpcd finds a new plugin and new rights likewise.
for program in ubusd rpcd; do
	for pid in $(pidof "$program"); do
		kill -HUP "$pid"
	done
done

mount_gateway
