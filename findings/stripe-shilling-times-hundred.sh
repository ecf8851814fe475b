#!/bin/sh
# Guess: libraries made for Stripe's amounts know how Stripe counts the Ugandan shilling.
#
# Seen: 50000 from Stripe is 500 UGX: the shilling has no decimals, but Stripe keeps counting it in hundredths for old
# integrations. Two libraries that say they are for Stripe read 50,000 UGX. beangulp-stripe follows the list of
# zero-decimal currencies on Stripe's page, which names UGX, and not the special cases below it; use-shopping-cart asks
# Intl for the number of decimals, and so is wrong for ISK as well, which Stripe treats the same way.
#
# Why it matters here: neither a list of zero-decimal currencies nor the locale data of a platform tells how Stripe
# counts. A table needs UGX and ISK as "counted in hundredths, shown without".
#
# Source: https://docs.stripe.com/currencies#special-cases (to charge 5 UGX, or 5 ISK, send 500);
# beangulp_stripe.ZERO_DECIMAL; formatCurrencyString() of use-shopping-cart.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install beangulp-stripe==0.3.0
npm install --silent --no-audit --no-fund --legacy-peer-deps --prefix "$folder" use-shopping-cart@3.2.0

cat > "$folder/format.cjs" <<'JS'
const { formatCurrencyString } = require('use-shopping-cart/core');

for (const currency of ['EUR', 'JPY', 'UGX', 'ISK'])
	console.log(
		'use-shopping-cart 3.2.0:',
		formatCurrencyString({ value: 50000, currency, language: 'en' }).replace(/\s/, ' '),
	);
JS
{
	"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

from beangulp_stripe import major_units

for currency in ("eur", "jpy", "ugx", "isk"):
    print(f"beangulp-stripe {version('beangulp-stripe')}: {currency.upper()} {major_units(50000, currency)}")
PY
	node "$folder/format.cjs"
} > "$folder/seen"
cat "$folder/seen"

cat > "$folder/expected" <<'TEXT'
beangulp-stripe 0.3.0: EUR 500.00
beangulp-stripe 0.3.0: JPY 50000
beangulp-stripe 0.3.0: UGX 50000
beangulp-stripe 0.3.0: ISK 500.00
use-shopping-cart 3.2.0: €500.00
use-shopping-cart 3.2.0: ¥50,000
use-shopping-cart 3.2.0: UGX 50,000
use-shopping-cart 3.2.0: ISK 50,000
TEXT
diff "$folder/expected" "$folder/seen" >&2 || { echo 'behaviour has changed' >&2; exit 1; }
