'use strict';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';
'require stripe-payments.checkout as checkout';
'require stripe-payments.page as page';
'require stripe-payments.plans as plans';

return page.Page.extend({
	title: () => _('Shop'),
	description: () => _('Features for this router. Pay securely with Stripe, here or on your phone. Features unlock automatically.'),

	initially: () => ({ catalog: null, features: {}, subscriptions: [], interval: 'month', previews: {}, cancels: {} }),

	questions: () => ({
		mayBuy: () => payments.mayBuy(),
		status: () => payments.status(),
		catalog: () => payments.catalog(),
		features: () => payments.features(),
		subscriptions: () => payments.subscriptions()
	}),

	parts() {
		this.progress = E('div');
		this.offers = new page.Part('div', { 'class': 'sp-offers' });

		this.foot = new page.Part('p', { 'class': 'sp-small sp-foot' });

		return [ this.progress, this.offers.node, this.foot.node ];
	},

	render() {
		const node = this.super('render', []);

		this.resume();

		/* Back from Stripe by the browser's button: the page is as it was left. */
		window.addEventListener('pageshow', event => {
			if (!event.persisted)
				return;

			this.state.busy = null;
			this.draw();
			this.resume();
		});

		return node;
	},

	/* A purchase whose end has not been seen yet, by this tab or another. */
	resume() {
		const purchase = checkout.unfinished(this.state.status, this.state.catalog);

		this.following?.stop();
		this.following = null;

		if (!purchase || !this.state.mayBuy) {
			this.progress.replaceChildren();
			return;
		}

		const dismiss = () => {
			checkout.forget(purchase);
			this.resume();
		};
		const actions = E('div', { 'class': 'sp-actions' }, [
			purchase.url ? E('a', { 'class': 'btn cbi-button cbi-button-action', 'href': purchase.url }, [ _('Back to payment') ]) : '',
			' ',
			E('button', {
				'class': 'btn cbi-button',
				'click': dismiss
			}, [ _('Dismiss') ])
		]);

		this.following = new checkout.Progress(purchase, phase => {
			if (checkout.PAYABLE.includes(phase))
				return;

			actions.replaceChildren(E('button', {
				'class': 'btn cbi-button',
				'click': dismiss
			}, [ _('Close') ]));

			this.refresh();
		}).start();

		this.progress.replaceChildren(E('div', { 'class': 'sp-panel' }, [ this.following.node, actions ]));
	},

	draw() {
		const { status, catalog, features, subscriptions, interval, busy, failed, previews, cancels, mayBuy } = this.state;
		const off = page.isOff(this.state);
		const words = [];

		if (status?.mode == 'test')
			words.push([ 'test', [ _('Test mode.'), _('No real money moves. Pay with card 4242 4242 4242 4242, any future date and any CVC.') ] ]);

		if (!mayBuy)
			words.push([ 'info', [ _('View only: you cannot make purchases.'), _('Ask the administrator of this router.') ] ]);

		this.drawNotices([ ...words, ...plans.unpaid(subscriptions), ...plans.waste(subscriptions, features, catalog) ]);

		if (!catalog)
			return;

		this.current = off ? null : plans.changeable(subscriptions);
		/* Begun in another tab: it is followed here too, but not behind the dialogue that does. */
		if (!this.following && checkout.unfinished(status, catalog) && !document.body.classList.contains('modal-overlay-active'))
			this.resume();

		this.offers.draw([ catalog, features, subscriptions, status?.purchases, interval, busy, failed, previews, cancels, off ], () => this.renderOffers(off));
		this.foot.draw([ catalog.tax_behavior, status?.contact, status?.seller?.name ], () => [
			E('span', {}, page.contact(status)), E('br'),
			{ inclusive: _('Prices include tax.'), exclusive: _('Tax is added to prices on the payment page.') }[catalog.tax_behavior] ?? '', ' ',
			_('Payments are handled by Stripe. Card details never reach this router.')
		]);
		this.askCosts();
	},

	/* What the other plans would cost, one question after the other: they wait for Stripe. */
	async askCosts() {
		if (!this.current || this.asking)
			return;

		const before = JSON.stringify(this.state.previews);

		this.asking = true;

		try {
			for (const plan of this.state.catalog.plans ?? []) {
				const price = this.priceOf(plan);

				if (this.isChange(plan, price) && this.current) {
					const preview = await plans.preview(this.current, price).catch(() => null);

					this.state.previews[price.id] = preview && plans.costs(preview, price)[0];
				}
			}
		}
		finally {
			this.asking = false;
		}

		if (JSON.stringify(this.state.previews) != before)
			this.draw();
	},

	/* Whether buying this means changing the subscription that there is. */
	isChange(item, price) {
		return this.current != null && price?.interval != null &&
			price.id != this.current.price && price.price_id != this.current.price;
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
					E('h3', { 'id': 'sp-products' }, [ _('Pay once, keep forever') ])
				]),
				E('div', { 'class': 'sp-grid sp-once' }, products.map(product =>
					this.renderOffer(product, product.prices?.[0], null, off)))
			]));

		if (!sections.length)
			sections.push(page.notice('info', [ _('Nothing is for sale.'), _('The administrator can add plans and products.') ]));

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
		const permanent = item.features.length > 0 && item.features.every(name => plans.isPermanent(features[name]));
		const change = !permanent && this.isChange(item, price);
		const included = !owned && !change && price?.interval != null && item.features.length > 0 &&
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
			change ? this.renderChange(item, price, off) : this.renderActions(item, price, owned || included, off)
		]);
	},

	/* Up or down from the plan that there is: by what it unlocks, else by what it costs. */
	directionOf(item) {
		const order = this.state.catalog.plans.map(plan => plan.id);
		const now = order.indexOf(this.current.plan);
		const then = order.indexOf(item.id);

		return then == now ? 0 : then - now;
	},

	renderChange(item, price, off) {
		const { features, catalog } = this.state;
		const direction = this.directionOf(item);
		const label = (direction > 0) ? _('Upgrade') : (direction < 0 ? _('Downgrade')
			: (price.interval == 'year' ? _('Pay yearly') : _('Pay monthly')));

		return E('div', { 'class': 'sp-actions' }, [
			E('p', { 'class': 'sp-preview', 'data-preview': item.id }, [ this.state.previews[price.id] ?? '' ]),
			E('button', {
				'class': `btn cbi-button ${direction < 0 ? '' : 'cbi-button-action important'}`,
				'data-focus': `change-${item.id}`,
				'data-way': 'change',
				'aria-describedby': `sp-title-${item.id}`,
				'disabled': (off || this.state.busy) ? '' : null,
				'click': () => plans.change(this.current, { item, price }, { features, catalog, done: () => this.refresh() })
			}, [ label ])
		]);
	},

	renderActions(item, price, have, off) {
		const error = this.state.failed[item.id];
		const pending = this.pendingOf(item);

		/* A plan whose first debit is on its way is one that there is, but unlocks nothing. */
		if (pending)
			return E('p', { 'class': 'sp-have', 'data-pending': item.id }, [
				_('Payment pending since %s: your bank is processing it.').format(format.date(pending.created)) ]);

		if (have)
			return this.renderOwned(item, off);

		if (!price)
			return E('p', { 'class': 'sp-small' }, [ _('Currently not for sale.') ]);

		const hindrance = price.interval ? plans.hindrance(this.state.subscriptions) : null;

		if (hindrance)
			return E('p', { 'class': 'sp-small', 'data-later': item.id }, [ hindrance, ' ',
				E('a', { 'href': L.url('admin/payments/features') }, [ _('My features') ]) ]);

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

		const needless = price.interval ? null : this.needless(item);

		return E('div', { 'class': 'sp-actions' }, [
			error ? page.failureNode(error) : '',
			needless ? this.renderNeedless(item, needless, off) : '',
			button('pay', 'cbi-button-action important',
				price.interval ? _('Subscribe') : _('Buy'), _('Opening Stripe…')),
			button('phone', '', _('Pay on a phone'), _('Preparing the code…'))
		]);
	},

	/* Buying something does not end the plan that it makes needless: said before, with the choice to end it. */
	renderNeedless(item, subscription, off) {
		const title = subscription.title ?? subscription.id;
		const sentence = _('It has everything in your plan %s, which does not end by itself.').format(title);

		if (!this.canEnd(subscription))
			return E('p', { 'class': 'sp-small', 'data-needless': subscription.id }, [ sentence, ' ',
				_('Cancel it afterwards:'), ' ', E('a', { 'href': L.url('admin/payments/features') }, [ _('My features') ]) ]);

		return E('div', { 'class': 'sp-small', 'data-needless': subscription.id }, [ sentence, E('label', { 'class': 'sp-also' }, [
			E('input', {
				'type': 'checkbox',
				'data-focus': `cancels-${item.id}`,
				'checked': this.state.cancels[item.id] ? '' : null,
				'disabled': (off || this.state.busy) ? '' : null,
				'change': event => { this.state.cancels = { ...this.state.cancels, [item.id]: event.target.checked }; }
			}),
			E('span', {}, [ _('Also set %s to end on %s. You can resume it until then.').format(title, format.date(subscription.current_period_end)) ])
		]) ]);
	},

	/* Whether it is paid up to a day on which it can end. */
	canEnd(subscription) {
		return [ 'active', 'trialing' ].includes(subscription.status) && subscription.current_period_end != null;
	},

	/* A purchase of it that a bank is still processing. */
	pendingOf(item) {
		return (this.state.status?.purchases ?? []).find(({ state, price }) =>
			state == 'processing' && item.prices?.some(candidate => candidate.id == price));
	},

	/* What there is already; of a plan that ends or is not paid also what follows. */
	renderOwned(item, off) {
		const subscription = this.state.subscriptions.find(held => held.plan == item.id && !plans.isOver(held));
		const resumable = subscription && (plans.isEnding(subscription) || subscription.paused);

		if (!resumable && item.features.some(name => !this.state.features[name]?.unlocked))
			return E('p', { 'class': 'sp-small', 'data-locked': item.id }, [ _('Locked on this router.'), ' ',
				E('a', { 'href': L.url('admin/payments/features') }, [ _('My features') ]) ]);

		if (!resumable)
			return E('p', { 'class': 'sp-have' }, [ _('Unlocked on this router') ]);

		return E('div', { 'class': 'sp-actions' }, [
			E('p', { 'class': 'sp-preview', 'data-ending': item.id }, [ plans.next(subscription) ]),
			E('button', {
				'class': 'btn cbi-button cbi-button-action important',
				'data-focus': `resume-${item.id}`,
				'data-way': 'resume',
				'aria-describedby': `sp-title-${item.id}`,
				'disabled': (off || this.state.busy) ? '' : null,
				'click': () => plans.resume(subscription, () => this.refresh())
			}, [ _('Resume') ])
		]);
	},

	/* The subscription that is still charged although this product has all that it is for. */
	needless(item) {
		const { subscriptions, catalog } = this.state;

		return subscriptions.find(subscription => plans.isCharged(subscription) &&
			(catalog.plans ?? []).find(plan => plan.id == subscription.plan)?.features
				.every(name => item.features.includes(name)));
	},

	/* One purchase at a time: the state says so before the first answer is
	 * awaited, so that a second click finds nothing left to do. */
	async handleBuy(way, offer) {
		if (this.state.busy)
			return;

		const open = checkout.unfinished(this.state.status, this.state.catalog);
		const needless = this.state.cancels[offer.id] ? this.needless(offer) : null;

		this.state.busy = `${way}-${offer.id}`;
		this.state.failed = {};
		this.draw();

		try {
			/* Before the payment: once it is made, this page may not be open any more. */
			if (needless && this.canEnd(needless)) {
				await payments.cancelSubscription(needless.id, true);
				await this.ask();
				this.draw();
			}

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
