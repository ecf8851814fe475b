'use strict';
'require baseclass';

/*
 * Money, periods and dates as the reader writes them.
 */

/* How many digits Stripe's minor unit has, where it is not two.
 * ISK and UGX have no minor unit in the world but two digits at Stripe.
 * https://docs.stripe.com/currencies#zero-decimal */
const DIGITS = {
	BIF: 0, CLP: 0, DJF: 0, GNF: 0, JPY: 0, KMF: 0, KRW: 0, MGA: 0,
	PYG: 0, RWF: 0, VND: 0, VUV: 0, XAF: 0, XOF: 0, XPF: 0,
	BHD: 3, JOD: 3, KWD: 3, OMR: 3, TND: 3
};

/* LuCI's language, with the region of the browser where it is the same language */
function locale() {
	const language = (document.documentElement.lang || 'en').replace(/_/g, '-');
	const primary = language.split('-')[0].toLowerCase();
	const regional = Array.from(navigator.languages ?? [])
		.find(tag => tag.split('-')[0].toLowerCase() == primary);

	try {
		return Intl.getCanonicalLocales(regional ?? language)[0];
	}
	catch {
		return 'en';
	}
}

return baseclass.extend({
	locale,

	/** @param {number} amount in minor units; @param {string} currency ISO 4217 */
	money(amount, currency) {
		const code = String(currency ?? '').toUpperCase();
		const value = Number(amount) / Math.pow(10, DIGITS[code] ?? 2);

		try {
			return new Intl.NumberFormat(locale(), { style: 'currency', currency: code }).format(value);
		}
		catch {
			return `${value} ${code}`.trim();
		}
	},

	/** What stands behind a price: "per month", "per year", "once". */
	period(interval) {
		switch (interval) {
		case 'month': return _('per month');
		case 'year': return _('per year');
		default: return _('once');
		}
	},

	/** The name of a way to pay, as on a switch. */
	billing(interval) {
		switch (interval) {
		case 'month': return _('Monthly');
		case 'year': return _('Yearly');
		default: return _('Once');
		}
	},

	/** How much cheaper a year is than twelve months, in whole percent; 0 if it is not. */
	saving(monthly, yearly) {
		if (!monthly?.amount || !yearly?.amount || monthly.currency != yearly.currency)
			return 0;

		return Math.max(0, Math.floor(100 - 100 * yearly.amount / (12 * monthly.amount)));
	},

	/** @param {string} timestamp RFC 3339 */
	date(timestamp) {
		const when = new Date(timestamp);

		if (isNaN(when))
			return '';

		return new Intl.DateTimeFormat(locale(), { dateStyle: 'medium' }).format(when);
	}
});
