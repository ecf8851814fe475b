# shellcheck shell=dash
# Mounts the gateway on LuCI's own web server, so that the HTTP API has LuCI's origin. To be sourced.

GATEWAY=/usr/share/stripe-payments/gateway.uc
GATEWAY_MOUNTS="/api/payments /payment-success /payment-cancel"

_gateway_reload() {
	[ -z "$(pidof uhttpd)" ] || /etc/init.d/uhttpd reload
}

# A handler that does not compile ends uhttpd, and LuCI with it; and `uci commit` would publish what a user has
# staged and not committed. In both cases: no mount, a sentence, 1.
mount_gateway() {
	local prefix mounted changed=

	if ! uci -q get uhttpd.main >/dev/null; then
		logger -s -t stripe-payments "no gateway on the web server: /etc/config/uhttpd has no section 'main'"
		return 1
	fi
	if [ ! -e /usr/lib/uhttpd_ucode.so ] || ! ucode -T -c -o /dev/null "$GATEWAY"; then
		logger -s -t stripe-payments "no gateway on the web server: uhttpd-mod-ucode is missing, or $GATEWAY does not compile"
		return 1
	fi
	if [ -n "$(uci -q changes uhttpd)" ]; then
		logger -s -t stripe-payments "no gateway on the web server: uncommitted changes of uhttpd (uci changes uhttpd)"
		return 1
	fi
	mounted=" $(uci -q get uhttpd.main.ucode_prefix) "
	for prefix in $GATEWAY_MOUNTS; do
		case "$mounted" in
		*" $prefix=$GATEWAY "*) ;;
		*) uci add_list "uhttpd.main.ucode_prefix=$prefix=$GATEWAY" && changed=1 ;;
		esac
	done
	[ -n "$changed" ] || return 0
	uci commit uhttpd && _gateway_reload
}

# In the file and not by uci: what a user has staged is not ours to publish, and no reason to leave a handler mounted
# that is about to be removed. uhttpd would not start without it.
unmount_gateway() {
	local mount="^[[:space:]]*list[[:space:]].*ucode_prefix.*=$GATEWAY"

	grep -q "$mount" /etc/config/uhttpd || return 0
	sed -i "\|$mount|d" /etc/config/uhttpd && _gateway_reload
}
