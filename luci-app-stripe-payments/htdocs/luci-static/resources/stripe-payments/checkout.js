'use strict';
'require baseclass';
'require poll';
'require session';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';

/*
 * One purchase from the click to the unlock: where the buyer is sent, the QR
 * code for a phone, and the progress that both end in.
 */

/* What this tab began, and what this browser shows no longer. */
const REMEMBERED = 'stripe-payments.checkout';
const DISMISSED = 'stripe-payments.dismissed';

/* Purchases that a browser keeps out of sight: the newest ones. */
const DISMISSED_KEPT = 20;

/* Seconds between two looks at the features: the service knows them by heart. */
const INTERVAL = 1;

/* Asking about the payment makes the service ask Stripe, so that is done ever
 * less often: [ until the purchase is so old, ask every … ] in milliseconds. The
 * service watches by itself too, and a payment that it sees unlocks features. */
const ASKING = [ [ 60e3, 2e3 ], [ 300e3, 5e3 ], [ Infinity, 20e3 ] ];

/* Stripe keeps a Checkout page for 24 hours; a person waits minutes. */
const PATIENCE_MS = 10 * 60e3;

/* Phases in which the payment page is open and can still be paid on. */
const PAYABLE = [ 'waiting', 'slow', 'declined' ];

/* Phases that nothing more will happen in. */
const SETTLED = [ 'unlocked', 'expired', 'failed', 'refunded' ];

/**
 * Where a purchase stands, from what the router says. Pure.
 *
 * @param {Object} payment answer of payment_status
 * @param {Object} features answer of features
 * @param {string[]} wanted names of the features that the purchase unlocks
 */
function phaseOf(payment, features, wanted) {
	/* After a declined card the same page takes another one: nothing is over. */
	if (payment.status == 'failed' && payment.final === false)
		return 'declined';

	switch (payment.status) {
	case 'paid':
	case 'no_payment_required':
	case 'partially_refunded':
	case 'disputed':
		return wanted.every(name => features[name]?.unlocked) ? 'unlocked' : 'unlocking';
	case 'pending':
		return 'processing';
	case 'expired':
	case 'failed':
	case 'refunded':
		return payment.status;
	default:
		return 'waiting';
	}
}

function sentence(phase, purchase, payment) {
	const why = payment.failure?.message;

	switch (phase) {
	case 'declined':
		return [ why ?? _('The payment was declined.'), _('You can pay with another card on the same page.') ].join(' ');
	case 'waiting':
		return _('Waiting for the payment of “%s”…').format(purchase.title);
	case 'processing':
		return _('Your bank is processing the payment. This can take a few days; features unlock automatically.');
	case 'unlocking':
		return _('Payment received. Unlocking…');
	case 'unlocked':
		return _('“%s” is paid and unlocked. Thank you!').format(purchase.title);
	case 'expired':
		return _('The payment page has expired. You were not charged; you can start again.');
	case 'failed':
		return [ why ?? '', _('The payment failed. Nothing was unlocked; you can try again.') ].join(' ').trim();
	case 'refunded':
		return _('This payment was refunded.');
	default:
		return _('No payment yet. You can leave this page; the router keeps checking.');
	}
}

/* The three steps of the progress; how many of them each phase has behind it. */
const DONE = { processing: 1, unlocking: 2, unlocked: 3 };
const STUCK = [ 'declined', 'expired', 'failed', 'refunded' ];

function steps(phase) {
	const done = DONE[phase] ?? 0;
	return E('ol', { 'class': 'sp-steps' }, [
		_('Payment page'),
		(phase == 'processing') ? _('Bank is processing') : _('Paid'),
		_('Unlocked')
	].map((label, i) => E('li', {
		'class': i < done ? 'done' : (i == done ? (STUCK.includes(phase) ? 'stuck' : 'current') : ''),
		'aria-current': (i == done) ? 'step' : null
	}, [ E('span', {}, [ label ]) ])));
}

/**
 * Follows one purchase through LuCI's poll and says so in `node`, which is a
 * live region: screen readers announce its changes.
 */
class Progress {
	constructor(purchase, changed) {
		this.purchase = purchase;
		this.changed = changed ?? (() => {});
		this.phase = null;
		this.payment = {};
		this.asked = 0;
		this.steps = E('div');
		this.words = E('p', { 'class': 'sp-live', 'role': 'status', 'aria-live': 'polite' });
		this.node = E('div', { 'class': 'sp-progress' }, [
			E('p', { 'class': 'sp-phone-what' }, [
				E('strong', {}, [ purchase.title ]),
				(purchase.amount == null) ? '' : ' · %s %s'.format(
					format.money(purchase.amount, purchase.currency), format.period(purchase.interval))
			]),
			this.steps,
			this.words
		]);
		this.look = this.look.bind(this);
		this.show('waiting');
	}

	start() {
		poll.add(this.look, INTERVAL);
		return this;
	}

	stop() {
		poll.remove(this.look);
	}

	async look() {
		/* The page's own poll learns of what is paid this late. */
		if (document.hidden || (Date.now() - this.purchase.since > PATIENCE_MS && !this.due()))
			return;

		try {
			const features = await payments.features();
			const known = this.purchase.features.filter(name => features[name]?.unlocked).length;

			if (this.due() || known != this.known) {
				this.known = known;
				this.asked = Date.now();
				this.payment = await payments.paymentStatus(this.purchase.session_id);
			}

			this.update(phaseOf(this.payment, features, this.purchase.features));
		}
		catch (error) {
			/* One answer missed is no news of the payment. */
			this.phase = null;
			this.words.textContent = `${error.message} ${error.hint ?? ''}`;
		}
	}

	due() {
		const age = Date.now() - this.purchase.since;

		return Date.now() - this.asked >= ASKING.find(([ until ]) => age < until)[1];
	}

	update(phase) {
		if (phase == 'waiting' && Date.now() - this.purchase.since > PATIENCE_MS)
			phase = 'slow';

		if (phase == this.phase && this.words.textContent == sentence(phase, this.purchase, this.payment))
			return;

		this.show(phase);

		if (SETTLED.includes(phase)) {
			this.stop();
			forget(this.purchase);
		}

		this.changed(phase);
	}

	show(phase) {
		this.phase = phase;
		this.node.setAttribute('data-phase', phase);
		this.steps.replaceChildren(steps(phase));
		this.words.textContent = sentence(phase, this.purchase, this.payment);
	}
}

function remember(purchase) {
	session.setLocalData(REMEMBERED, purchase);
	return purchase;
}

/* Storage may be switched off, or hold what is not ours. */
function dismissed() {
	try {
		return L.toArray(JSON.parse(window.localStorage.getItem(DISMISSED)));
	}
	catch {
		return [];
	}
}

/** Shows a purchase no longer in this browser; the router continues to watch it. */
function forget(purchase) {
	session.setLocalData(REMEMBERED, null);

	if (!purchase)
		return;

	try {
		window.localStorage.setItem(DISMISSED, JSON.stringify([ ...dismissed(), purchase.session_id ].slice(-DISMISSED_KEPT)));
	}
	catch {
		/* Shown again on the next page, no more. */
	}
}

/** The purchase that this tab began, else the newest one that is not finished, wherever it began; null without one. */
function unfinished(status, catalog) {
	const hidden = dismissed();
	const known = (status?.purchases ?? []).filter(({ payment_id: id }) => !hidden.includes(id)).pop();
	const items = [ ...catalog?.plans ?? [], ...catalog?.products ?? [] ];
	const item = items.find(candidate => candidate.prices.some(price => price.id == known?.price));

	const begun = session.getLocalData(REMEMBERED);

	return (begun && !hidden.includes(begun.session_id)) ? begun : (item ? ofOffer(known.payment_id, known.url, Date.parse(known.created),
		{ ...item, price: item.prices.find(price => price.id == known.price) }) : null);
}

function ofOffer(id, url, since, { title, features, price }) {
	return { session_id: id, url, since, price: price.id, title, features, amount: price.amount, currency: price.currency, interval: price.interval };
}

/**
 * Opens a Checkout page at Stripe and remembers it in this tab, so that the
 * shop knows what it is waiting for when the buyer comes back.
 */
async function open(offer, successUrl, cancelUrl) {
	const reply = await payments.createCheckoutSession(offer.price.id, successUrl, cancelUrl);

	return remember(ofOffer(reply.session_id, reply.checkout_url, Date.now(), offer));
}

/* LuCI's QR library is a package of its own: without it the link has to do. */
async function qrCode(text) {
	try {
		const svg = E((await L.require('uqr')).renderSVG(text, { pixelSize: 4 }));

		svg.setAttribute('viewBox', '0 0 %s %s'.format(svg.getAttribute('width'), svg.getAttribute('height')));
		svg.setAttribute('role', 'img');
		svg.setAttribute('aria-label', _('QR code of the payment page'));

		return E('div', { 'class': 'sp-qr' }, [ svg ]);
	}
	catch {
		return E('div', { 'class': 'sp-qr missing' }, [
			_('No QR code: the package “luci-lib-uqr” is not installed. Open this address on the phone:'),
			E('code', {}, [ text ])
		]);
	}
}

return baseclass.extend({
	PAYABLE,
	SETTLED,
	Progress,
	phaseOf,
	forget,
	unfinished,

	/**
	 * Takes the buyer to Stripe in this tab. Resolves when the browser is
	 * leaving; rejects with a PaymentError.
	 */
	async pay(offer) {
		const purchase = await open(offer,
			`${window.location.origin}/payment-success`,
			`${window.location.origin}/payment-cancel`);

		window.location.assign(purchase.url);
	},

	/**
	 * Shows the QR code of a new Checkout page and follows it. `reachable` is an
	 * address of this router that phones off the LAN reach, if it has one. `closed`
	 * is called with the last phase when the person is through with the dialogue.
	 */
	async payOnPhone(offer, reachable, closed) {
		const origin = (reachable || window.location.origin).replace(/\/+$/, '');
		const purchase = await open(offer, `${origin}/payment-success`, `${origin}/payment-cancel`);
		const button = E('button', { 'class': 'btn cbi-button' }, [ _('Cancel') ]);
		const [ code, ui ] = await Promise.all([ qrCode(purchase.url), L.require('ui') ]);

		const progress = new Progress(purchase, phase => {
			const settled = SETTLED.includes(phase);

			code.classList.toggle('over', settled);
			button.textContent = settled || phase == 'processing' ? _('Done') : _('Cancel');

			if (settled)
				button.focus();
		});

		const close = () => {
			progress.stop();
			/* The page at Stripe stays open for the phone that has it: the router
			 * goes on watching, only this tab need not. */
			forget(purchase);
			dialogue.removeAttribute('aria-label');
			ui.hideModal();
			closed(progress.phase);
		};

		button.addEventListener('click', close);

		const dialogue = ui.showModal(_('Pay on your phone'), [
			E('div', { 'class': 'sp-phone' }, [
				code,
				E('div', { 'class': 'sp-phone-words' }, [
					E('p', { 'class': 'sp-phone-what' }, [
						E('strong', {}, [ offer.title ]), E('br'),
						'%s %s'.format(format.money(offer.price.amount, offer.price.currency), format.period(offer.price.interval))
					]),
					E('ol', { 'class': 'sp-howto' }, [
						E('li', {}, [ _('Scan the code with your phone’s camera.') ]),
						E('li', {}, [ _('Pay on the Stripe page that opens.') ]),
						E('li', {}, [ _('Keep this window open; it updates when you have paid.') ])
					]),
					E('p', { 'class': 'sp-small' }, [
						reachable
							? _('Your phone can use any network.')
							: _('Your phone can use any network. Outside this one the confirmation page may not load, but the payment still counts.')
					]),
					E('a', { 'class': 'sp-small', 'href': purchase.url, 'target': '_blank', 'rel': 'noreferrer noopener' },
						[ _('Open the payment page here instead') ])
				])
			]),
			progress.node,
			E('div', { 'class': 'right' }, [ button ])
		], 'cbi-modal', 'sp-modal');

		dialogue.setAttribute('aria-label', _('Pay on your phone'));
		dialogue.querySelector('h4')?.setAttribute('aria-level', '2');
		/* Its title stays in sight where the dialogue is higher than the screen. */
		button.focus({ preventScroll: true });
		progress.start();
	}
});
