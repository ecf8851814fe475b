'use strict';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';
'require stripe-payments.page as page';
'require stripe-payments.spending as spending';
'require stripe-payments.refunds as refunds';
'require stripe-payments.csv as csv';

/* Rows that are shown more with each click, and asked for at once. */
const SHOWN = 20;
const ASKED = 100;

/* Questions for the chart, and for a file: ASKED rows each. */
const FOR_CHART = 5;
const FOR_FILE = 100;

function kindOf(kind) {
	switch (kind) {
	case 'payment': return _('Payment');
	case 'invoice': return _('Invoice');
	case 'refund': return _('Refund');
	case 'dispute': return _('Dispute');
	default: return kind;
	}
}

/* A state of a payment, an invoice, a refund or a dispute, and how it is marked. */
function stateOf(status) {
	switch (status) {
	case 'paid': return [ _('Paid'), 'good' ];
	case 'succeeded': return [ _('Refunded'), 'good' ];
	case 'no_payment_required': return [ _('Free of charge'), 'good' ];
	case 'pending': return [ _('Pending'), 'warning' ];
	case 'requires_action': return [ _('Waiting for the payer'), 'warning' ];
	case 'unpaid': return [ _('Not paid'), 'bad' ];
	case 'failed': return [ _('Failed'), 'bad' ];
	case 'expired': return [ _('Expired'), 'quiet' ];
	case 'void': return [ _('Void'), 'quiet' ];
	case 'canceled': return [ _('Canceled'), 'quiet' ];
	case 'refunded': return [ _('Refunded'), 'quiet' ];
	case 'partially_refunded': return [ _('Partly refunded'), 'quiet' ];
	case 'disputed': return [ _('Disputed'), 'bad' ];
	case 'won': return [ _('Won'), 'good' ];
	case 'lost': return [ _('Lost'), 'bad' ];
	case 'needs_response':
	case 'warning_needs_response': return [ _('Under dispute'), 'bad' ];
	case 'under_review':
	case 'warning_under_review': return [ _('Under review'), 'warning' ];
	case 'warning_closed': return [ _('Closed'), 'quiet' ];
	default: return [ status, 'quiet' ];
	}
}

function newestFirst(one, other) {
	return Date.parse(other.date) - Date.parse(one.date) || other.id.localeCompare(one.id);
}

return page.Page.extend({
	title: () => _('Transactions'),
	description: () => _('Every payment, invoice, refund and dispute of this router.'),

	initially: () => ({ rows: new Map(), next: undefined, first: null, wantedKind: '', wantedState: '', shown: SHOWN, mayAdminister: false }),

	questions: () => ({
		mayBuy: () => payments.mayBuy(),
		mayAdminister: () => payments.mayAdminister(),
		status: () => payments.status(),
		first: () => payments.transactions(ASKED)
	}),

	async ask(changed) {
		await this.super('ask', [ changed ]);

		const { first } = this.state;

		if (!first)
			return;

		this.take(first);

		/* The end of the list, as far as it is known: later looks are at its beginning. */
		if (this.state.next === undefined) {
			this.state.next = first.next;
			this.more(FOR_CHART, () => this.oldest() < page.now(this.state.status) - 366 * 864e5)
				.then(() => this.table && this.draw(), () => {});
		}
	},

	take({ transactions }) {
		transactions.forEach(row => this.state.rows.set(row.id, row));
		this.sorted = [ ...this.state.rows.values() ].sort(newestFirst);
	},

	oldest() {
		return Date.parse(this.sorted[this.sorted.length - 1]?.date ?? 0);
	},

	/* Reads on, at most so many times, until there is enough or no more. */
	async more(times, enough) {
		for (let i = 0; i < times && this.state.next && !enough(); i++) {
			const answer = await payments.transactions(ASKED, this.state.next);

			this.state.next = answer.next;
			this.take(answer);
		}
	},

	matching() {
		const { wantedKind, wantedState } = this.state;

		return (this.sorted ?? []).filter(row => (!wantedKind || row.kind == wantedKind) && (!wantedState || row.status == wantedState));
	},

	parts() {
		this.chart = new page.Part('div');
		this.tools = new page.Part('div');
		this.table = new page.Part('div', { 'aria-live': 'off' });
		this.count = new page.Part('div');
		this.older = new page.Part('div');

		return [ this.chart.node, this.tools.node, this.table.node, E('div', { 'class': 'sp-sync' }, [ this.count.node, this.older.node ]) ];
	},

	draw() {
		const { first, wantedKind, wantedState, shown, busy, failed, next, mayAdminister, trouble } = this.state;

		this.drawNotices();

		if (!first)
			return;

		const now = page.now(this.state.status);
		const matching = this.matching();
		const rows = matching.slice(0, shown);
		const kinds = [ ...new Set(this.sorted.map(row => row.kind)) ];
		const states = [ ...new Set(this.sorted.map(row => row.status)) ];

		this.chart.draw([ this.sorted, now.toDateString() ], () => spending.render(this.sorted, now));
		this.tools.draw([ wantedKind, wantedState, kinds, states, busy, failed.csv, this.sorted.length > 0 ],
			() => this.sorted.length ? this.renderTools(kinds, states) : []);
		this.table.draw([ rows, mayAdminister, trouble != null, busy ], () => this.renderTable(rows));
		const more = rows.length < matching.length || next != null;

		this.count.draw([ rows.length, matching.length, next ], () => this.renderCount(rows.length, matching.length, more));
		/* By itself: the list goes on being read, and a button that is replaced under a finger loses the click. */
		this.older.draw([ more, rows.length, busy, failed.older ], () => this.renderOlder(rows.length, more));
	},

	renderTools(kinds, states) {
		const select = (id, label, value, options, set) => E('span', { 'class': 'sp-pair' }, [
			E('label', { 'for': id }, [ label ]),
			E('select', {
				'id': id, 'class': 'cbi-input-select', 'data-focus': id,
				'change': event => {
					set(event.currentTarget.value);
					this.state.shown = SHOWN;
					this.draw();
				}
			}, [ [ '', _('All') ], ...options ].map(([ key, text ]) =>
				E('option', { 'value': key, 'selected': key == value ? '' : null }, [ text ])))
		]);

		return [ E('div', { 'class': 'sp-tools' }, [
			select('sp-kind', _('Kind'), this.state.wantedKind, kinds.map(kind => [ kind, kindOf(kind) ]),
				value => { this.state.wantedKind = value; }),
			select('sp-state', _('Status'), this.state.wantedState, states.map(state => [ state, stateOf(state)[0] ]),
				value => { this.state.wantedState = value; }),
			E('span', { 'class': 'sp-gap' }),
			this.button('csv', '', _('Download as CSV'), _('Preparing…'), () => this.export()),
			this.failure('csv')
		]) ];
	},

	renderTable(rows) {
		if (!this.sorted.length)
			return [ page.notice('info', [ _('No payments yet.'), _('What you buy in the shop appears here.') ]) ];

		if (!rows.length)
			return [ page.notice('info', [ _('No transactions match.') ]) ];

		const heads = [ [ _('Date') ], [ _('Item') ], [ _('Kind') ], [ _('Status') ], [ _('Amount'), 'amount' ], [ _('Actions'), 'documents' ] ];

		return [ E('table', { 'class': 'sp-table' }, [
			E('caption', { 'class': 'sp-hidden' }, [ _('Transactions') ]),
			E('thead', {}, [ E('tr', {}, heads.map(([ text, style ]) => E('th', { 'scope': 'col', 'class': style ?? null }, [ text ]))) ]),
			E('tbody', {}, rows.map(row => this.renderRow(row)))
		]) ];
	},

	renderRow(row) {
		const [ word, style ] = stateOf(row.status);
		const link = (address, text, label) => /^https?:\/\//.test(address ?? '')
			? E('a', { 'href': address, 'target': '_blank', 'rel': 'noreferrer noopener', 'aria-label': label.format(row.description) }, [ text ]) : '';

		return E('tr', { 'data-transaction': row.id }, [
			E('td', { 'class': 'date' }, [ E('time', { 'datetime': row.date, 'title': format.dateTime(row.date) }, [ format.date(row.date) ]) ]),
			E('td', { 'class': 'what' }, [ row.description || row.id ]),
			E('td', { 'class': 'kind' }, [ kindOf(row.kind) ]),
			E('td', { 'class': 'state' }, [
				E('span', { 'class': `sp-badge ${style}` }, [ word ]),
				row.failure ? E('span', { 'class': 'sp-small sp-reason' }, [ row.failure.message ]) : ''
			]),
			E('td', { 'class': `amount ${row.amount < 0 ? 'back' : ''}` }, [
				format.money(row.amount, row.currency),
				/* What the buyer's card was charged, where Stripe converted it. */
				row.presentment ? E('span', { 'class': 'sp-small', 'data-presentment': row.presentment.currency }, [
					' (%s)'.format(format.money(row.presentment.amount, row.presentment.currency)) ]) : ''
			]),
			E('td', { 'class': 'documents' }, [
				link(row.receipt_url, row.kind == 'invoice' ? _('Invoice') : _('Receipt'),
					row.kind == 'invoice' ? _('Invoice of %s, in a new tab') : _('Receipt of %s, in a new tab')), ' ',
				link(row.invoice_pdf, _('PDF'), _('Invoice of %s as PDF, in a new tab')), ' ',
				(this.state.mayAdminister && refunds.possible(row)) ? E('button', {
					'class': 'btn cbi-button',
					'data-focus': `refund-${row.id}`,
					'data-action': 'refund',
					'disabled': (this.state.trouble || this.state.busy) ? '' : null,
					'aria-label': _('Refund %s').format(row.description),
					'click': () => refunds.open(row, () => this.refresh())
				}, [ _('Refund…') ]) : ''
			])
		]);
	},

	renderCount(shown, known, more) {
		if (!known && !more)
			return [];

		return [ E('span', { 'class': 'sp-small', 'role': 'status' }, [ this.state.next
			? _('%d shown').format(shown) : _('%d of %d shown').format(shown, known) ]) ];
	},

	renderOlder(shown, more) {
		if (!more)
			return [];

		return [ this.failure('older'), this.button('older', '', _('Show older'), _('Loading…'), async () => {
			const wanted = shown + SHOWN;

			await this.more(FOR_CHART, () => this.matching().length >= wanted);
			this.state.shown = wanted;
		}) ];
	},

	async export() {
		await this.more(FOR_FILE, () => false);

		csv.download('transactions-%s.csv'.format(new Date().toISOString().slice(0, 10)), [
			[ _('Date'), _('Item'), _('Kind'), _('Status'), _('Amount'), _('Currency'), _('Receipt'), _('PDF'), _('Number'), _('Reason') ],
			...this.matching().map(row => [
				row.date, row.description, kindOf(row.kind), stateOf(row.status)[0],
				format.decimal(row.amount, row.currency), String(row.currency).toUpperCase(),
				row.receipt_url, row.invoice_pdf, row.id, row.failure?.message
			])
		]);
	}
});
