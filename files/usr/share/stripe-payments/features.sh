# shellcheck shell=dash
# For other packages: `. /usr/share/stripe-payments/features.sh`, then `if feature_unlocked remote_backup_daily; then …`.

# Whether the feature is unlocked. An unknown name is a locked feature.
feature_unlocked() {
	[ "$(feature_option "$1" unlocked)" = 1 ]
}

# One option of a feature: source, plan, until (RFC 3339, UTC) or reason; empty where there is none.
feature_option() {
	case "$1" in
	'' | *[!A-Za-z0-9_]*) return 1 ;;
	esac
	uci -q get "stripe-features.$1.$2"
}
