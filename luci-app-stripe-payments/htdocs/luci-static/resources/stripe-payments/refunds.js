'use strict';
'require baseclass';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';
'require stripe-payments.page as page';

/*
 * Giving money back: how much, why, and what that ends.
 */
const REFUNDABLE = [ 'paid', 'partially_refunded' ];

return baseclass.extend({
	/** Whether there may be something left to give back. */
	possible(row) {
		return [ 'payment', 'invoice' ].includes(row.kind) && REFUNDABLE.includes(row.status) && row.amount > 0;
	},

	/** Asks how much and why, and gives it back once it is confirmed. */
	open(row, done) {
		const { currency } = row;
		const amount = E('input', {
			'type': 'text', 'class': 'cbi-input-text', 'id': 'sp-refund-amount', 'inputmode': 'decimal',
			'autocomplete': 'off', 'aria-describedby': 'sp-refund-left sp-refund-effect', 'value': format.entry(row.amount, currency)
		});
		const reason = E('select', { 'class': 'cbi-input-select', 'id': 'sp-refund-reason' }, [
			[ 'requested_by_customer', _('Requested by customer') ],
			[ 'duplicate', _('Duplicate') ],
			[ 'fraudulent', _('Fraudulent') ]
		].map(([ value, label ]) => E('option', { 'value': value }, [ label ])));
		const limit = E('p', { 'class': 'sp-small', 'id': 'sp-refund-left' });
		const warning = E('p', { 'class': 'sp-next', 'id': 'sp-refund-effect', 'aria-live': 'polite' });
		let left = row.amount;

		const update = () => {
			const value = format.minor(amount.value, currency);
			const good = value != null && value > 0 && value <= left;

			amount.setAttribute('aria-invalid', !good);
			limit.textContent = _('Up to %s can be refunded.').format(format.money(left, currency));
			warning.classList.toggle('sp-error', !good);
			warning.textContent = !good ? _('Enter an amount from %s to %s.').format(format.money(1, currency), format.money(left, currency))
				: (value == left
					? _('%s will be refunded to the payer. Features unlocked only by this payment will lock.').format(format.money(value, currency))
					: _('%s will be refunded to the payer. Its features stay unlocked.').format(format.money(value, currency)));
			dialog.ready(good);
		};

		const dialog = new page.Dialog({
			title: _('Refund'),
			nodes: [
				E('p', {}, [ E('strong', {}, [ row.description ]), ' ', format.money(row.amount, currency), ', ', format.date(row.date) ]),
				E('div', { 'class': 'sp-fields' }, [
					E('label', { 'for': 'sp-refund-amount' }, [ _('Amount in %s').format(String(currency).toUpperCase()) ]),
					amount,
					E('label', { 'for': 'sp-refund-reason' }, [ _('Reason') ]),
					reason
				]),
				limit,
				warning
			],
			said: refund => _('Refunded: %s.').format(format.money(refund.amount ?? format.minor(amount.value, currency), currency)),
			action: _('Refund now'),
			wait: _('Refunding…'),
			style: 'cbi-button-negative important',
			run: () => {
				const value = format.minor(amount.value, currency);

				return payments.refund(row.id, value == left ? null : value, reason.value);
			},
			done
		}).open();

		amount.addEventListener('input', update);
		update();

		/* What was given back before; where the router cannot tell, Stripe refuses too much. */
		payments.paymentStatus(row.id).then(status => {
			const rest = row.amount - (status.amount_refunded ?? 0);

			if (rest > 0 && rest < left) {
				left = rest;
				amount.value = format.entry(rest, currency);
				update();
			}
		}).catch(() => {});
	}
});
