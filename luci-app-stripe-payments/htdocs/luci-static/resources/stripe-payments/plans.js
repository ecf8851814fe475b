'use strict';
'require baseclass';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';
'require stripe-payments.page as page';

/*
 * Subscriptions in words, and what can be done with one: change the plan for an
 * amount that is known before, cancel, resume.
 */

/* Statuses in which a subscription is over. */
const OVER = [ 'canceled', 'incomplete_expired' ];

/* Statuses in which its plan can be changed. */
const CHANGEABLE = [ 'active', 'trialing' ];

/* Statuses in which Stripe charges it, or tries to. */
const CHARGED = [ 'active', 'trialing', 'past_due', 'unpaid' ];

/* Statuses in which its last payment failed. */
const UNPAID = [ 'past_due', 'unpaid' ];

/* Statuses in which it keeps a second one from being bought. */
const LIVING = [ ...CHARGED, 'paused' ];

/* How long a previewed amount is valid, in milliseconds: proration goes by the second. */
const FRESH_MS = 5 * 60e3;

const previews = {};

/* Where a price stands: { item, price }, or null for one that is not sold any more. */
function find(catalog, alias) {
	for (const item of [ ...catalog?.plans ?? [], ...catalog?.products ?? [] ]) {
		const price = item.prices?.find(candidate => candidate.id == alias || candidate.price_id == alias);

		if (price)
			return { item, price };
	}

	return null;
}

/** The amount of a price with its period: "€4.99 per month". */
function amountOf(price) {
	return '%s %s'.format(format.money(price.amount, price.currency), format.period(price.interval, price.interval_count));
}

/** What an amount that was previewed means for the person, as sentences. */
function costs(preview, price) {
	const due = preview.amount_due ?? 0;
	const currency = preview.currency ?? price.currency;
	const words = [ (due > 0)
		? _('Due today: %s').format(format.money(due, currency))
		: _('Nothing due today') ];

	if (due > 0 && preview.pays_by_debit)
		words.push(preview.waits_for_debit
			? _('It is debited from your bank account within days. What is new in the plan unlocks when the debit has arrived.')
			: _('It is debited from your bank account within days. The new plan begins now.'));

	if (preview.credit > 0)
		words.push(_('You have a credit of %s, applied to upcoming payments.').format(format.money(preview.credit, currency)));

	const then = amountOf({ ...price, amount: preview.renewal_amount ?? price.amount, currency });
	const next = preview.next_payment;

	if (!next?.date)
		words.push(_('Then: %s.').format(then));
	else if (next.amount < preview.renewal_amount)
		words.push(_('Next payment: %s on %s. When the credit is used up: %s.').format(format.money(next.amount, currency), format.date(next.date), then));
	else
		words.push(_('Next payment: %s on %s, then %s.').format(format.money(next.amount, currency), format.date(next.date), then));

	if (next?.source == 'list_price')
		words.push(listPrice());

	return words;
}

/* Where Stripe did not preview what will be charged. */
function listPrice() {
	return _('This is the list price: discounts and tax may change it.');
}

/* Bought or granted without an end: no subscription is needed for it. */
function isPermanent(feature) {
	return feature?.unlocked && [ 'paid', 'granted' ].includes(feature.reason) && !feature.until;
}

/* The invoice that a failed payment left open, and the amount that is left to pay of it; or undefined. */
function openInvoice({ latest_invoice: invoice }) {
	const amount = invoice?.amount_remaining ?? invoice?.amount_due;
	return (invoice?.status == 'open' && amount > 0) ? { ...invoice, amount } : undefined;
}

/* What stays unlocked, and until when, if a subscription is canceled at the end of its period. */
function afterPeriod(subscription) {
	const end = format.date(subscription.current_period_end);

	if (UNPAID.includes(subscription.status))
		return subscription.grace_until
			? _('The last payment failed: stays unlocked until %s, or until %s if the open invoice is paid.').format(format.date(subscription.grace_until), end)
			: _('The last payment failed: its features stay locked unless the open invoice is paid.');

	return end ? _('Stays unlocked until %s. Nothing more is charged.').format(end)
		: _('Stays unlocked until then. Nothing more is charged.');
}

/* One request to Stripe for each price, however often the page is drawn. */
function preview(subscription, price) {
	const key = `${subscription.id} ${subscription.price} ${price.id}`;
	const known = previews[key];

	if (known && Date.now() - known.since < FRESH_MS)
		return known.answer;

	const answer = payments.previewChange(subscription.id, price.id);

	previews[key] = { since: Date.now(), answer };
	answer.catch(() => { delete previews[key]; });

	return answer;
}

/* The features that only this subscription unlocks, by their titles, but for some names. */
function kept(subscription, features, catalog, without = []) {
	return Object.keys(features)
		.filter(name => features[name].unlocked && features[name].source == subscription.id && !without.includes(name))
		.map(name => catalog?.features?.[name]?.title ?? name);
}

return baseclass.extend({
	find,
	amountOf,
	costs,
	preview,

	isOver(subscription) {
		return OVER.includes(subscription.status);
	},

	isEnding(subscription) {
		return !this.isOver(subscription) && subscription.ends_at != null;
	},

	isPermanent,

	/** Whether Stripe continues to charge it. */
	isCharged(subscription) {
		return CHARGED.includes(subscription.status) && !this.isEnding(subscription);
	},

	/** Whether it is paid for features that are owned without it. */
	isPointless(subscription, features, catalog) {
		const names = catalog?.plans?.find(plan => plan.id == subscription.plan)?.features ?? [];

		return this.isCharged(subscription) && names.length > 0 && names.every(name => isPermanent(features[name]));
	},

	/** Payments that failed, as notices with the way to pay: [ kind, [ sentence, what to do, links ] ]. */
	unpaid(subscriptions) {
		return (subscriptions ?? []).filter(subscription => UNPAID.includes(subscription.status)).map(subscription => {
			const invoice = openInvoice(subscription);
			const follows = (subscription.status == 'past_due' && subscription.grace_until)
				? _('Its features lock on %s unless it is paid.').format(format.date(subscription.grace_until))
				: _('Its features are locked until it is paid.');

			return [ 'error', [
				_('The last payment for “%s” failed.').format(subscription.title ?? subscription.id),
				[ invoice?.failure?.message, follows ].filter(sentence => sentence).join(' '),
				[
					...(/^https?:\/\//.test(invoice?.url ?? '')
						? [ [ invoice.url, _('Pay %s at Stripe').format(format.money(invoice.amount, invoice.currency)) ] ] : []),
					[ L.url('admin/payments/features'), _('Update payment method') ]
				]
			] ];
		});
	},

	/** What is paid for without need, as notices: [ kind, [ sentence, what to do ] ]. */
	waste(subscriptions, features, catalog) {
		const charged = (subscriptions ?? []).filter(subscription => this.isCharged(subscription));
		const words = charged.filter(subscription => this.isPointless(subscription, features, catalog)).map(subscription => [ 'warning', [
			_('You pay %s for features that are yours forever.').format(amountOf(this.priceOf(subscription))),
			_('Cancel the subscription “%s” under My features.').format(subscription.title ?? subscription.id),
			[ [ L.url('admin/payments/features'), _('My features') ] ]
		] ]);

		if (charged.length > 1)
			words.unshift([ 'warning', [
				_('%d subscriptions are active, and each of them is charged.').format(charged.length),
				_('Cancel those that you do not need under My features. Payments can be refunded under Transactions.')
			] ]);

		return words;
	},

	/** What a period of it costs: a price as of the catalog. */
	priceOf(subscription) {
		return {
			id: subscription.price, amount: subscription.amount, currency: subscription.currency,
			interval: subscription.interval, interval_count: subscription.interval_count
		};
	},

	/** The subscription that another plan would take the place of, or null. */
	changeable(subscriptions) {
		return subscriptions?.find(subscription => CHANGEABLE.includes(subscription.status) &&
			!subscription.paused && !subscription.pending_change) ?? null;
	},

	/** Why neither another plan can be bought nor this one be changed to it, in a sentence; null where one can. */
	hindrance(subscriptions) {
		const living = subscriptions?.find(subscription => LIVING.includes(subscription.status));

		if (!living || this.changeable(subscriptions))
			return null;

		const title = living.title ?? living.id;

		if (UNPAID.includes(living.status))
			return _('You can change to this plan once the payment for “%s” is made.').format(title);

		return living.paused ? _('Resume “%s” to change to this plan.').format(title)
			: _('A change of “%s” waits for its payment.').format(title);
	},

	/** A word for the state, and how urgent it is: [ word, kind ]. */
	stateOf(subscription) {
		if (this.isOver(subscription))
			return [ _('Ended'), 'quiet' ];

		if (this.isEnding(subscription))
			return [ _('Ending'), 'warning' ];

		if (subscription.paused)
			return [ _('Paused'), 'warning' ];

		switch (subscription.status) {
		case 'active': return [ _('Active'), 'good' ];
		case 'trialing': return [ _('Trial'), 'good' ];
		case 'past_due': return [ _('Payment failed'), 'bad' ];
		case 'unpaid': return [ _('Not paid'), 'bad' ];
		case 'incomplete': return [ _('Not paid yet'), 'warning' ];
		default: return [ subscription.status, 'quiet' ];
		}
	},

	/** What happens next, in a sentence. */
	next(subscription) {
		const price = this.priceOf(subscription);

		if (this.isOver(subscription))
			return subscription.ends_at
				? _('Ended on %s. Nothing more is charged.').format(format.date(subscription.ends_at))
				: _('This subscription has ended. Nothing more is charged.');

		if (subscription.ends_at)
			return _('Ends on %s. Nothing more is charged.').format(format.date(subscription.ends_at));

		if (subscription.paused)
			return subscription.status == 'paused'
				? _('Paused: nothing is charged, and its features are locked.')
				: _('Paused: nothing is charged.');

		switch (subscription.status) {
		case 'trialing':
			return _('Free until %s, then %s.').format(format.date(subscription.trial_end ?? subscription.current_period_end), amountOf(price));
		case 'active':
			return this.renewal(subscription);
		case 'past_due':
			return subscription.grace_until
				? _('The last payment failed. Its features stay unlocked until %s; update your payment method.').format(format.date(subscription.grace_until))
				: _('The last payment failed. Update your payment method.');
		case 'unpaid':
			return _('The last payments failed, and its features are locked. Update your payment method.');
		case 'incomplete':
			return _('The first payment has not arrived yet.');
		default:
			return '';
		}
	},

	/** When it renews and for how much, as far as that is known. */
	renewal({ next_payment: next, planned_change: planned, current_period_end, amount, currency }) {
		const words = [ _('Renews on %s for %s.').format(format.date(next?.date ?? current_period_end),
			format.money(next?.amount ?? amount, next?.currency ?? currency)) ];

		if (next?.source == 'list_price')
			words.push(listPrice());

		if (planned)
			words.push(_('The seller has planned a change: from %s it is %s, %s.').format(
				format.date(planned.date), planned.title ?? planned.price, amountOf(planned)));

		return words.join(' ');
	},

	/** Asks what changing costs, says so and what locks with it, and changes once it is confirmed. */
	change(subscription, { item, price }, { features, catalog, done }) {
		const lost = kept(subscription, features, catalog, item.features);
		const words = E('div', { 'class': 'sp-cost', 'role': 'status', 'aria-live': 'polite' }, [
			E('p', { 'class': 'spinning' }, [ _('Calculating the cost…') ])
		]);

		const dialog = new page.Dialog({
			title: _('Change to %s').format(item.title),
			nodes: [
				/* A subscription keeps its currency: what the plan costs in another one is previewed below. */
				E('p', {}, [ E('strong', {}, [ item.title ]), ' ', (price.currency == subscription.currency) ? amountOf(price) : '' ]),
				this.isEnding(subscription)
					? E('p', {}, [ _('Your subscription was to end. With this change it renews again.') ]) : '',
				lost.length ? E('p', { 'data-lost': lost.length }, [ _('Not in %s, so these features lock now: %s.').format(item.title, format.list(lost)) ]) : '',
				words
			],
			said: _('Your plan is now %s.').format(item.title),
			action: _('Change plan'),
			wait: _('Changing…'),
			ready: false,
			run: async () => {
				const changed = await payments.changePlan(subscription.id, price.id);

				if (!changed.pending_change)
					return changed;

				/* Declined, or the bank wants to hear from the payer first. */
				words.replaceChildren(
					E('p', { 'class': 'sp-due' }, [ _('Payment required.') ]),
					E('p', {}, [ _('Your plan does not change until it is paid.'), ' ', this.completion(changed.pending_change) ]));

				return false;
			},
			done
		}).open();

		preview(subscription, price).then(answer => {
			words.replaceChildren(...costs(answer, price).map((sentence, i) =>
				E('p', { 'class': i ? '' : 'sp-due' }, [ sentence ])));
			dialog.ready(true);
		}).catch(error => words.replaceChildren(page.failureNode(error)));
	},

	/** The way to a payment that a change of plan waits for. */
	completion(pending) {
		return /^https?:\/\//.test(pending.invoice_url ?? '') ? E('a', {
			'href': pending.invoice_url, 'target': '_blank', 'rel': 'noreferrer noopener'
		}, [ _('Complete the payment at Stripe') ]) : '';
	},

	/** Asks when it shall end and says what ends with it. */
	cancel(subscription, features, catalog, done) {
		const titles = kept(subscription, features, catalog);
		const invoice = openInvoice(subscription);
		const ends = titles.length
			? E('p', {}, [ _('These features will lock: %s.').format(format.list(titles)) ]) : '';
		const choice = (value, label, words, checked) => E('label', { 'class': 'sp-choice' }, [
			E('input', { 'type': 'radio', 'name': 'sp-cancel', 'value': value, 'checked': checked ? '' : null }),
			E('span', {}, [ E('strong', {}, [ label ]), E('br'), words ])
		]);
		const choices = E('fieldset', { 'class': 'sp-choices' }, [
			E('legend', { 'class': 'sp-hidden' }, [ _('When it ends') ]),
			choice('later', UNPAID.includes(subscription.status) ? _('At the end of the period') : _('At the end of the paid period'),
				afterPeriod(subscription), true),
			choice('now', _('Immediately'), _('Locks now. No refund for the remaining time.'))
		]);

		new page.Dialog({
			title: _('Cancel subscription'),
			nodes: [
				ends,
				choices,
				invoice ? E('p', { 'data-open-invoice': invoice.id }, [
					_('The open invoice of %s is neither paid nor voided by this.').format(format.money(invoice.amount, invoice.currency))
				]) : ''
			],
			leave: _('Keep subscription'),
			said: canceled => canceled.ends_at && !this.isOver(canceled)
				? _('The subscription ends on %s.').format(format.date(canceled.ends_at)) : _('The subscription has ended.'),
			action: _('Cancel subscription'),
			wait: _('Canceling…'),
			style: 'cbi-button-negative important',
			run: () => payments.cancelSubscription(subscription.id,
				choices.querySelector('input:checked').value == 'later'),
			done
		}).open();
	},

	/** Says what it will cost to go on, and goes on once it is confirmed. */
	resume(subscription, done) {
		const next = subscription.next_payment;
		const amount = format.money(next?.amount ?? subscription.amount, next?.currency ?? subscription.currency);

		new page.Dialog({
			title: _('Resume the subscription'),
			nodes: [ E('p', {}, [ subscription.paused
				? _('Payments resume: %s is charged at the next due date.').format(amount)
				: _('Your subscription will renew on %s for %s.').format(format.date(subscription.current_period_end), amount) ]) ],
			said: _('The subscription continues.'),
			action: _('Resume'),
			wait: _('Resuming…'),
			run: () => payments.resumeSubscription(subscription.id),
			done
		}).open();
	}
});
