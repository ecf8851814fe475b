#!/bin/sh
# Guess: dj-stripe, the largest Stripe library for Django, knows that 50000 JPY from Stripe is 50,000 yen.
#
# Seen: Charge.amount is stored as 500.00, whatever the currency, and the texts shown in Django's admin are made of
# amount / 100 with two decimals: "500.00 JPY" is a hundredth of what was paid, "500.00 KWD" ten times too much (three
# decimals). Right for euro, so a shop in euro never notices.
#
# Why it matters here: sums over Charge.amount mix yen at a hundredth with euro. Money is kept in Stripe's minor units
# everywhere, and turned into a text at the very end, by a table of currencies.
#
# Source: djstripe.fields.StripeDecimalCurrencyAmountField.stripe_to_db(), djstripe.models.core.Price and
# djstripe.utils.get_friendly_currency_amount(); https://docs.stripe.com/currencies#zero-decimal
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq install dj-stripe==2.11.0 Django==5.2.19 stripe==15.6.2

"$folder/venv/bin/python" - > "$folder/seen" <<'PY'
from importlib.metadata import version

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "djstripe"],
    DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
    USE_TZ=True,
)
django.setup()

from djstripe.models import Charge, Price  # noqa: E402

print("dj-stripe", version("dj-stripe"))
for currency in ("eur", "jpy", "kwd"):
    charge = {"id": "ch_1", "object": "charge", "amount": 50000, "currency": currency, "captured": True}
    amount = Charge._meta.get_field("amount").stripe_to_db(charge)
    price = Price(
        id="price_1",
        stripe_data={
            "id": "price_1",
            "object": "price",
            "billing_scheme": "per_unit",
            "currency": currency,
            "recurring": None,
            "unit_amount": 50000,
        },
    )
    shown = Charge(amount=amount, currency=currency, status="succeeded", stripe_data=charge)
    print(f"50000 {currency}: Charge.amount {amount}, admin {shown}, price {price.human_readable_price.strip()}")
PY
cat "$folder/seen"

cat > "$folder/expected" <<'TEXT'
dj-stripe 2.11.0
50000 eur: Charge.amount 500, admin €500.00 EUR (Succeeded), price 500.00  (one time)
50000 jpy: Charge.amount 500, admin 500.00 JPY (Succeeded), price 500.00  (one time)
50000 kwd: Charge.amount 500, admin 500.00 KWD (Succeeded), price 500.00  (one time)
TEXT
diff "$folder/expected" "$folder/seen" >&2 || { echo 'behaviour has changed' >&2; exit 1; }
