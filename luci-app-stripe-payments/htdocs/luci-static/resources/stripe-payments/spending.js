'use strict';
'require baseclass';
'require stripe-payments.format as format';

/*
 * What was spent by month: sums, and a small chart of them. Currencies are never
 * added up: each has a chart of its own.
 */

const MONTHS = 12;

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 1080;
const HEIGHT = 140;
const FOOT = 22;
const HEAD = 18;

/* Money that went, and money that came back (its amount is negative). */
const SPENT = [ 'paid', 'refunded', 'partially_refunded', 'disputed' ];
const RETURNED = { refund: [ 'succeeded', 'pending' ], dispute: [ 'lost' ] };

function counts(row) {
	return (RETURNED[row.kind] ?? SPENT).includes(row.status);
}

/* Month of the reader's clock: "2026-11" */
function monthOf(date) {
	return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, '0')}`;
}

function lastMonths(now) {
	return Array.from({ length: MONTHS }, (_unused, i) =>
		monthOf(new Date(now.getFullYear(), now.getMonth() - MONTHS + 1 + i, 1)));
}

/**
 * Sums of the last twelve months. Pure.
 *
 * @param {Object[]} rows transactions
 * @param {Date} now
 * @returns {Object[]} [ { currency, total, months: [ { month: "2026-11", amount } ] } ] in minor
 * units, the currency with most payments first
 */
function byMonth(rows, now) {
	const months = lastMonths(now);
	const found = {};

	for (const row of rows.filter(counts)) {
		const month = monthOf(new Date(row.date));

		if (!row.amount || !months.includes(month))
			continue;

		const sums = found[row.currency] ??= { number: 0, amounts: {} };

		sums.number++;
		sums.amounts[month] = (sums.amounts[month] ?? 0) + row.amount;
	}

	return Object.entries(found)
		.sort(([ a, one ], [ b, other ]) => other.number - one.number || a.localeCompare(b))
		.map(([ currency, { amounts } ]) => ({
			currency,
			total: Object.values(amounts).reduce((sum, amount) => sum + amount, 0),
			months: months.map(month => ({ month, amount: amounts[month] ?? 0 }))
		}));
}

function svg(name, attributes, children) {
	const node = document.createElementNS(SVG, name);

	Object.entries(attributes).forEach(([ key, value ]) => node.setAttribute(key, value));
	node.append(...children ?? []);

	return node;
}

/* Bars over a common line; months in which more came back than went hang below it. */
function bars({ currency, months, total }) {
	const most = Math.max(0, ...months.map(({ amount }) => amount));
	const least = Math.min(0, ...months.map(({ amount }) => amount));
	const scale = (HEIGHT - HEAD - FOOT) / Math.max(1, most - least);
	const line = (most > least) ? HEAD + most * scale : HEIGHT - FOOT;
	const step = WIDTH / months.length;

	return svg('svg', {
		'viewBox': `0 0 ${WIDTH} ${HEIGHT}`,
		'role': 'img',
		'aria-label': _('Spending of the last twelve months: %s').format(format.money(total, currency))
	}, [
		svg('line', { 'x1': 0, 'x2': WIDTH, 'y1': line, 'y2': line, 'class': 'axis' }),
		...months.flatMap(({ month, amount }, i) => {
			const height = Math.max(Math.abs(amount) * scale, amount ? 2 : 0);
			const top = (amount < 0) ? line : line - height;
			const middle = (i + .5) * step;
			/* The one figure that a narrow screen has room for. */
			const value = (amount == most) ? 'value most' : 'value';

			return [
				svg('g', { 'class': amount < 0 ? 'bar back' : 'bar' }, [
					svg('title', {}, [ `${format.month(month, true)}: ${format.money(amount, currency)}` ]),
					svg('rect', { 'class': 'hit', 'x': i * step, 'y': 0, 'width': step, 'height': HEIGHT }),
					svg('rect', { 'x': middle - step * .3, 'y': top, 'width': step * .6, 'height': height, 'rx': 3 }),
					...(amount ? [ svg('text', { 'x': middle, 'y': top - 5, 'class': value },
						[ format.money(amount, currency) ]) ] : [])
				]),
				svg('text', { 'x': middle, 'y': HEIGHT - FOOT + 6, 'class': i % 3 == 2 ? 'month' : 'month minor' }, [ format.month(month) ])
			];
		})
	]);
}

function table({ currency, months }) {
	return E('details', { 'class': 'sp-figures' }, [
		E('summary', {}, [ _('Show as table') ]),
		E('table', { 'class': 'sp-table small' }, [
			E('thead', {}, [ E('tr', {}, [
				E('th', { 'scope': 'col' }, [ _('Month') ]),
				E('th', { 'scope': 'col', 'class': 'amount' }, [ _('Amount') ])
			]) ]),
			E('tbody', {}, months.map(({ month, amount }) => E('tr', {}, [
				E('th', { 'scope': 'row' }, [ format.month(month, true) ]),
				E('td', { 'class': 'amount' }, [ format.money(amount, currency) ])
			])))
		])
	]);
}

return baseclass.extend({
	MONTHS,
	byMonth,

	/** The charts of all currencies side by side; an empty array where nothing was spent. */
	render(rows, now) {
		return byMonth(rows, now).map(sums => E('figure', { 'class': 'sp-spending', 'data-currency': sums.currency }, [
			E('figcaption', {}, [
				E('span', {}, [ _('Spent in the last twelve months') ]), ' ',
				E('strong', {}, [ format.money(sums.total, sums.currency) ])
			]),
			bars(sums),
			table(sums)
		]));
	}
});
