'use strict';
'require baseclass';

/*
 * Money, periods and dates as the reader writes them.
 */

/* Digits of Stripe's minor unit where they are not two: https://docs.stripe.com/currencies
 * ISK and UGX are written without decimals, but have two digits at Stripe. */
const DIGITS = {
	BIF: 0, CLP: 0, DJF: 0, GNF: 0, JPY: 0, KMF: 0, KRW: 0, MGA: 0,
	PYG: 0, RWF: 0, VND: 0, VUV: 0, XAF: 0, XOF: 0, XPF: 0,
	BHD: 3, JOD: 3, KWD: 3, OMR: 3, TND: 3
};

/* What an amount must be a multiple of, and the smallest and largest charge, in minor units; from the same page. */
const STEPS = { BHD: 10, JOD: 10, KWD: 10, OMR: 10, TND: 10, ISK: 100, UGX: 100 };
const MINIMUM_CHARGES = {
	AED: 200, AUD: 50, BGN: 100, BRL: 50, CAD: 50, CHF: 50, CZK: 1500, DKK: 250,
	EUR: 50, GBP: 30, HKD: 400, HUF: 17500, INR: 50, JPY: 50, MXN: 1000, MYR: 200,
	NOK: 300, NZD: 50, PLN: 200, RON: 200, SEK: 300, SGD: 50, THB: 1000, USD: 50
};
const MAXIMUM_CHARGES = { IDR: 999999999999 };
const MAXIMUM_CHARGE = 99999999;

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

function digitsOf(currency) {
	return DIGITS[String(currency ?? '').toUpperCase()] ?? 2;
}

function written(timestamp, options) {
	const when = new Date(timestamp ?? NaN);

	return isNaN(when) ? '' : new Intl.DateTimeFormat(locale(), options).format(when);
}

return baseclass.extend({
	locale,

	/** 499, "eur" -> "4.99": as a machine or an input field has it. */
	decimal(amount, currency) {
		const digits = digitsOf(currency);

		return (Number(amount) / Math.pow(10, digits)).toFixed(digits);
	},

	/** 499, "eur" -> "4.99" or "4,99": as the reader would enter it. */
	entry(amount, currency) {
		const digits = digitsOf(currency);

		return new Intl.NumberFormat(locale(), { useGrouping: false, minimumFractionDigits: digits, maximumFractionDigits: digits })
			.format(Number(amount) / Math.pow(10, digits));
	},

	/** "4.99" or "4,99", "eur" -> 499; null for what is no amount of this currency. */
	minor(text, currency) {
		const digits = digitsOf(currency);
		const parts = /^\s*(\d{1,10})(?:[.,](\d+))?\s*$/.exec(text);

		if (!parts || (parts[2] ?? '').length > digits)
			return null;

		return Number(parts[1]) * Math.pow(10, digits) + Number((parts[2] ?? '').padEnd(digits, '0'));
	},

	/** What Stripe charges in a currency, in minor units: from the minimum (or nothing) to the maximum, in steps. */
	limits(currency) {
		const code = String(currency ?? '').toUpperCase();

		return { step: STEPS[code] ?? 1, minimum: MINIMUM_CHARGES[code] ?? 1, maximum: MAXIMUM_CHARGES[code] ?? MAXIMUM_CHARGE };
	},

	/** @param {number} amount in minor units; @param {string} currency ISO 4217 */
	money(amount, currency) {
		const code = String(currency ?? '').toUpperCase();
		const digits = digitsOf(code);
		const value = Number(amount) / Math.pow(10, digits);
		/* A currency written without decimals, such as HUF, may have some at Stripe. */
		const fraction = Number.isInteger(value) ? {} : { minimumFractionDigits: digits, maximumFractionDigits: digits };

		try {
			return new Intl.NumberFormat(locale(), { style: 'currency', currency: code, ...fraction }).format(value);
		}
		catch {
			return `${value} ${code}`.trim();
		}
	},

	/** What stands behind a price: "per month", "every 3 months", "per year", "once". */
	period(interval, count) {
		switch (interval) {
		case 'month': return (count > 1) ? _('every %d months').format(count) : _('per month');
		case 'year': return (count > 1) ? _('every %d years').format(count) : _('per year');
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

	/** @param {string} timestamp RFC 3339, in the browser's time zone */
	date(timestamp) {
		return written(timestamp, { dateStyle: 'medium' });
	},

	/** As date(), with the time of day. */
	dateTime(timestamp) {
		return written(timestamp, { dateStyle: 'medium', timeStyle: 'short' });
	},

	/** "2026-11" -> "Nov" or "November 2026" */
	month(key, long) {
		return written(`${key}-15T12:00:00Z`, long ? { month: 'long', year: 'numeric' } : { month: 'short' });
	},

	/** A list of names in a sentence: "a, b and c" */
	list(names) {
		return new Intl.ListFormat(locale(), { type: 'conjunction' }).format(names);
	}
});
