'use strict';
'require view';
'require poll';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';
'require stripe-payments.checkout as checkout';

/* Seconds between two looks at what the router sells and what is unlocked. */
const INTERVAL = 5;

/* Not resolved before it is applied, or the page would jump. */
function loadStylesheet() {
	return new Promise(resolve => {
		const link = E('link', {
			'rel': 'stylesheet',
			'href': L.resource('stripe-payments/shop.css'),
			'load': resolve,
			'error': resolve
		});

		document.head.appendChild(link);
	});
}

function notice(kind, words) {
	return E('div', { 'class': `sp-notice ${kind}` }, [
		E('strong', {}, [ words[0] ]), ' ', words[1] ?? ''
	]);
}

/**
 * A part of the page, redrawn only when what it shows has changed. Keeps the
 * focus, also over a time in which the focused button was disabled.
 */
class Part {
	constructor(tag, attributes) {
		this.node = E(tag, attributes);
		this.shown = null;
		this.focus = null;
	}

	draw(what, nodes) {
		const key = JSON.stringify(what);

		if (key === this.shown)
			return;

		if (document.activeElement != document.body)
			this.focus = this.node.contains(document.activeElement)
				? document.activeElement.getAttribute('data-focus') : null;

		this.shown = key;
		this.node.replaceChildren(...nodes());

		if (this.focus)
			this.node.querySelector(`[data-focus="${CSS.escape(this.focus)}"]:not([disabled])`)?.focus();

		if (this.node.contains(document.activeElement))
			this.focus = null;
	}
}

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load() {
		this.state = {
			status: {},
			catalog: null,
			features: {},
			mayBuy: false,
			trouble: null,
			interval: 'month',
			busy: null,
			failed: {}
		};

		payments.openHttpSession().catch(() => {});

		return Promise.all([ loadStylesheet(), this.ask() ]);
	},

	/* The router's answers into the state; a failure is a state too. */
	async ask() {
		try {
			const [ mayBuy, status, catalog, features ] = await Promise.all([
				payments.mayBuy(), payments.status(), payments.catalog(), payments.features()
			]);

			Object.assign(this.state, { mayBuy, status, catalog, features, trouble: null });
		}
		catch (error) {
			this.state.trouble = error;
		}
	},

	refresh() {
		return this.ask().then(() => this.draw());
	},

	render() {
		this.notices = new Part('div', { 'class': 'sp-notices', 'role': 'status', 'aria-live': 'polite' });
		this.progress = E('div');
		this.offers = new Part('div', { 'class': 'sp-offers' });

		const page = E('div', { 'class': 'sp-shop' }, [
			E('h2', { 'name': 'content' }, [ _('Shop') ]),
			E('div', { 'class': 'cbi-map-descr' }, [
				_('Features for this router. Pay on the secure page of Stripe, here or on your phone; what you paid for unlocks by itself.')
			]),
			this.notices.node,
			this.progress,
			this.offers.node,
			E('p', { 'class': 'sp-small sp-foot' }, [
				_('Payments are handled by Stripe. Card details never reach this router.')
			])
		]);

		this.draw();
		this.resume();

		poll.add(() => this.refresh(), INTERVAL);

		/* Back from Stripe by the browser's button: the page is as it was left. */
		window.addEventListener('pageshow', event => {
			if (!event.persisted)
				return;

			this.state.busy = null;
			this.draw();
			this.resume();
		});

		return page;
	},

	/* A purchase that this tab began and has not seen the end of. */
	resume() {
		const purchase = checkout.remembered();

		this.following?.stop();
		this.following = null;

		if (!purchase || !this.state.mayBuy) {
			this.progress.replaceChildren();
			return;
		}

		const actions = E('div', { 'class': 'sp-actions' }, [
			E('a', { 'class': 'btn cbi-button cbi-button-action', 'href': purchase.url }, [ _('Continue paying') ]),
			' ',
			E('button', {
				'class': 'btn cbi-button',
				'click': () => {
					checkout.forget();
					this.resume();
				}
			}, [ _('Stop waiting') ])
		]);

		this.following = new checkout.Progress(purchase, phase => {
			if (checkout.PAYABLE.includes(phase))
				return;

			actions.replaceChildren(E('button', {
				'class': 'btn cbi-button',
				'click': () => {
					checkout.forget();
					this.resume();
				}
			}, [ _('Close') ]));

			this.refresh();
		}).start();

		this.progress.replaceChildren(E('div', { 'class': 'sp-panel' }, [ this.following.node, actions ]));
	},

	draw() {
		const { status, catalog, trouble, mayBuy } = this.state;
		const stripe = L.isObject(status.stripe) ? status.stripe.status : status.stripe;
		const off = trouble != null || !mayBuy || status.mode == 'unconfigured' || status.enabled === false;
		const words = [];

		if (trouble)
			words.push([ 'error', [ trouble.message, trouble.hint ] ]);
		else if (status.enabled === false)
			words.push([ 'info', [ _('Payments are switched off on this router.'), _('What you already own stays unlocked.') ] ]);
		else if (status.mode == 'unconfigured')
			words.push([ 'info', [ _('Payments are not set up yet.'), _('The administrator has to store the Stripe keys first.') ] ]);
		else if (stripe == 'unreachable')
			words.push([ 'warning', [ _('Stripe cannot be reached from this router.'), _('Check the Internet connection. What you already own stays unlocked.') ] ]);
		else if (stripe == 'unauthorized')
			words.push([ 'warning', [ _('Stripe does not accept the key of this router.'), _('The administrator has to check the Stripe keys.') ] ]);

		if (!trouble && status.mode == 'test')
			words.push([ 'test', [ _('Test mode.'), _('No real money moves. Pay with the card 4242 4242 4242 4242, any date to come and any CVC.') ] ]);

		if (!trouble && !mayBuy)
			words.push([ 'info', [ _('Your login may look, but not buy.'), _('Ask the administrator of this router.') ] ]);

		this.notices.draw(words, () => words.map(([ kind, text ]) => notice(kind, text)));

		if (catalog)
			this.offers.draw(
				[ catalog, this.state.features, this.state.interval, this.state.busy, this.state.failed, off ],
				() => this.renderOffers(off));
		else
			this.offers.draw(null, () => []);
	},

	renderOffers(off) {
		const { catalog } = this.state;
		const plans = catalog.plans ?? [];
		const products = catalog.products ?? [];
		const sections = [];

		if (plans.length)
			sections.push(E('section', { 'aria-labelledby': 'sp-plans' }, [
				E('div', { 'class': 'sp-heading' }, [
					E('h3', { 'id': 'sp-plans' }, [ _('Plans') ]),
					this.renderIntervals(plans)
				]),
				E('div', { 'class': 'sp-grid' }, plans.map((plan, i) =>
					this.renderOffer(plan, this.priceOf(plan), plans[i - 1], off)))
			]));

		if (products.length)
			sections.push(E('section', { 'aria-labelledby': 'sp-products' }, [
				E('div', { 'class': 'sp-heading' }, [
					E('h3', { 'id': 'sp-products' }, [ _('Buy once, keep for ever') ])
				]),
				E('div', { 'class': 'sp-grid sp-once' }, products.map(product =>
					this.renderOffer(product, product.prices?.[0], null, off)))
			]));

		if (!sections.length)
			sections.push(notice('info', [ _('There is nothing on sale.'), _('The administrator can add plans and products.') ]));

		return sections;
	},

	priceOf(plan) {
		return plan.prices?.find(price => price.interval == this.state.interval) ?? plan.prices?.[0];
	},

	renderIntervals(plans) {
		const intervals = [ 'month', 'year' ].filter(interval =>
			plans.some(plan => plan.prices?.some(price => price.interval == interval)));

		if (intervals.length < 2)
			return E([]);

		const saving = Math.max(...plans.map(plan => format.saving(
			plan.prices?.find(price => price.interval == 'month'),
			plan.prices?.find(price => price.interval == 'year'))));

		return E('fieldset', { 'class': 'sp-switch' }, [
			E('legend', { 'class': 'sp-hidden' }, [ _('Billing period') ]),
			...intervals.map(interval => E('label', {}, [
				E('input', {
					'type': 'radio',
					'name': 'sp-interval',
					'value': interval,
					'data-focus': `interval-${interval}`,
					'checked': (interval == this.state.interval) ? '' : null,
					'change': () => {
						this.state.interval = interval;
						this.draw();
					}
				}),
				E('span', {}, [
					format.billing(interval),
					(interval == 'year' && saving > 0) ? E('em', {}, [ _('save up to %d%%').format(saving) ]) : ''
				])
			]))
		]);
	},

	renderOffer(item, price, below, off) {
		const { features, catalog } = this.state;
		const owned = item.prices?.some(candidate => candidate.owned) ?? false;
		const included = !owned && price?.interval != null && item.features.length > 0 &&
			item.features.every(name => features[name]?.unlocked);
		const inherits = below?.features.length > 0 && below.features.every(name => item.features.includes(name));
		const names = inherits ? item.features.filter(name => !below.features.includes(name)) : item.features;
		const title = `sp-title-${item.id}`;

		return E('article', { 'class': `sp-card ${owned ? 'owned' : ''}`, 'aria-labelledby': title, 'data-offer': item.id }, [
			E('header', {}, [
				E('h4', { 'id': title }, [ item.title ]),
				owned ? E('span', { 'class': 'sp-badge' }, [ price?.interval ? _('Your plan') : _('Owned') ])
					: (included ? E('span', { 'class': 'sp-badge quiet' }, [ _('Included') ]) : '')
			]),
			E('p', { 'class': 'sp-description' }, [ item.description ?? '' ]),
			price ? E('p', { 'class': 'sp-price' }, [
				E('strong', {}, [ format.money(price.amount, price.currency) ]), ' ',
				E('span', {}, [ format.period(price.interval) ])
			]) : '',
			E('p', { 'class': 'sp-inherits' }, inherits ? [ _('Everything in %s, and:').format(below.title) ] : []),
			E('ul', { 'class': 'sp-features' }, names.map(name => E('li', {
				'class': features[name]?.unlocked ? 'unlocked' : '',
				'data-feature': name,
				'title': catalog.features?.[name]?.description ?? null
			}, [
				catalog.features?.[name]?.title ?? name,
				features[name]?.unlocked ? E('span', { 'class': 'sp-hidden' }, [ ' ', _('(unlocked)') ]) : ''
			]))),
			this.renderActions(item, price, owned || included, off)
		]);
	},

	renderActions(item, price, have, off) {
		const error = this.state.failed[item.id];

		if (have)
			return E('p', { 'class': 'sp-have' }, [ _('Unlocked on this router') ]);

		if (!price)
			return E('p', { 'class': 'sp-small' }, [ _('Not on sale at the moment.') ]);

		const offer = { id: item.id, title: item.title, features: item.features, price };
		const busy = this.state.busy;
		const button = (way, classes, label, wait) => E('button', {
			'class': `btn cbi-button ${classes} ${busy == `${way}-${item.id}` ? 'spinning' : ''}`,
			'data-focus': `${way}-${item.id}`,
			'data-way': way,
			'aria-describedby': `sp-title-${item.id}`,
			'disabled': (off || busy) ? '' : null,
			'click': () => this.handleBuy(way, offer)
		}, [ (busy == `${way}-${item.id}`) ? wait : label ]);

		return E('div', { 'class': 'sp-actions' }, [
			error ? E('p', { 'class': 'sp-error', 'role': 'alert' }, [
				E('strong', {}, [ error.message ]), ' ', error.hint ?? ''
			]) : '',
			button('pay', 'cbi-button-action important',
				price.interval ? _('Subscribe') : _('Buy'), _('Opening Stripe…')),
			button('phone', '', _('Pay on a phone'), _('Preparing the code…'))
		]);
	},

	/* One purchase at a time: the state says so before the first answer is
	 * awaited, so that a second click finds nothing left to do. */
	async handleBuy(way, offer) {
		if (this.state.busy)
			return;

		const open = checkout.remembered();

		this.state.busy = `${way}-${offer.id}`;
		this.state.failed = {};
		this.draw();

		try {
			if (way == 'phone') {
				await checkout.payOnPhone(offer, this.state.status.phone_return_url, () => this.refresh().then(() => this.resume()));
			}
			else if (open?.price == offer.price.id && checkout.PAYABLE.includes(this.following?.phase)) {
				/* Its page is still open: a second one could be paid twice. */
				window.location.assign(open.url);
				return;
			}
			else {
				await checkout.pay(offer);
				return;
			}
		}
		catch (error) {
			this.state.failed = { [offer.id]: { message: error.message, hint: error.hint } };

			if (error.code == 'already_owned')
				await this.ask();
		}

		this.state.busy = null;
		this.draw();
	}
});
