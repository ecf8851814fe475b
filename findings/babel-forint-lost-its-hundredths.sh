#!/bin/sh
# Guess: going from Babel 2.18 to 2.19 an amount keeps its digits, at most symbols and spaces move.
#
# Seen: the forint, the Colombian peso and the rupiah went from two decimals to none. format_currency() rounds to the
# precision of the currency by default, so 1,234.50 HUF is printed as 1,235 or 1,234 (half to even), without an option
# of the caller having changed. get_currency_precision() changed alike, and with it every "minor units to amount".
#
# Why it matters here: Stripe counts these three in hundredths and always will. 10 ** get_currency_precision(c) as the
# divisor makes 500.00 HUF into 50,000 HUF after an upgrade of a minor version; a rounded figure on a quote differs from
# what the card is charged. The number of Stripe's decimals must come from Stripe's table, and be passed to Babel.
#
# Source: CLDR-11586 (digits of COP, HUF, IDR set to 0), which Babel 2.19 brings in with CLDR 49;
# https://docs.stripe.com/currencies#special-cases for what Stripe does.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/show.py" <<'PY'
from decimal import Decimal

import babel
from babel.numbers import format_currency, get_currency_precision

for code in ("EUR", "HUF", "COP", "IDR"):
    amount = Decimal("1234.50")
    minor = 50000
    print(
        babel.__version__,
        format_currency(amount, code, "#,##0.00 ¤¤", locale="en"),
        f"precision {get_currency_precision(code)}",
        f"{minor} minor units = {Decimal(minor).scaleb(-get_currency_precision(code))}",
        sep=" | ",
    )
PY
for version in 2.18.0 2.19.0; do
	python3 -m venv "$folder/$version"
	"$folder/$version/bin/pip" -qq install "babel==$version"
	"$folder/$version/bin/python" "$folder/show.py"
done > "$folder/seen"
cat "$folder/seen"

cat > "$folder/expected" <<'TEXT'
2.18.0 | 1,234.50 EUR | precision 2 | 50000 minor units = 500.00
2.18.0 | 1,234.50 HUF | precision 2 | 50000 minor units = 500.00
2.18.0 | 1,234.50 COP | precision 2 | 50000 minor units = 500.00
2.18.0 | 1,234.50 IDR | precision 2 | 50000 minor units = 500.00
2.19.0 | 1,234.50 EUR | precision 2 | 50000 minor units = 500.00
2.19.0 | 1,234 HUF | precision 0 | 50000 minor units = 50000
2.19.0 | 1,234 COP | precision 0 | 50000 minor units = 50000
2.19.0 | 1,234 IDR | precision 0 | 50000 minor units = 50000
TEXT
diff "$folder/expected" "$folder/seen" >&2 || { echo 'behaviour has changed' >&2; exit 1; }
