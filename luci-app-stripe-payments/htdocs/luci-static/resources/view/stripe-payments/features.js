'use strict';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';
'require stripe-payments.page as page';
'require stripe-payments.plans as plans';
'require stripe-payments.grants as grants';
'require stripe-payments.recovery as recovery';

/* Back from Stripe's portal: a page that needs no login and leads here by a link
 * of our own site, for LuCI's cookie does not travel on the way back. */
const RETURN = 'stripe-payments/return.html';

/* Reasons of an earlier time: what counts is the plan that there is now. */
const PAST = [ 'none', 'canceled', 'refunded', 'expired' ];

/* What unlocked or locked a feature, and what happens next; `plan`: the title of a plan without it that is active. */
function story(feature, now, seller, plan) {
	const date = format.date(feature.until);

	if (plan && !feature.unlocked && PAST.includes(feature.reason))
		return _('Not in your plan (%s).').format(plan);

	switch (feature.reason) {
	case 'paid': return _('Yours forever.');
	case 'granted': return date ? _('Granted by the administrator until %s.').format(date) : _('Granted by the administrator.');
	case 'active': return Date.parse(feature.until) < now
		? _('Renewal on %s not confirmed yet; stays unlocked.').format(date)
		: _('Renews on %s.').format(date);
	case 'trialing': return _('Trial until %s.').format(date);
	case 'ending': return _('Locks on %s: the subscription ends.').format(date);
	case 'grace': return _('The last payment failed. Locks on %s unless it is paid.').format(date);
	case 'offline': return seller
		? _('The seller has been unreachable for too long to confirm payment.')
		: _('Stripe has been unreachable for too long to confirm payment.');
	case 'past_due': return _('The last payment failed.');
	case 'unpaid': return _('The last payments failed.');
	case 'paused': return _('The subscription is paused.');
	case 'canceled': return _('The subscription has ended.');
	case 'incomplete': return _('The first payment has not arrived yet.');
	case 'pending': return _('The bank is still processing the payment.');
	case 'refunded': return _('The payment was refunded.');
	case 'disputed': return _('The payment was disputed.');
	case 'expired': return _('It has expired.');
	case 'none': return _('Not purchased.');
	default: return feature.unlocked ? _('Unlocked.') : _('Locked.');
	}
}

/* How long previewed payments are shown, in milliseconds. */
const PREVIEWED_FOR_MS = 5 * 60e3;

/* Unlocked states that need an action. */
const URGENT = [ 'ending', 'grace' ];

return page.Page.extend({
	title: () => _('My features'),
	description: () => _('What is unlocked on this router, why, and until when.'),

	initially: () => ({ features: {}, subscriptions: [], catalog: null, nextPayments: {} }),

	questions: () => ({
		mayBuy: () => payments.mayBuy(),
		mayAdminister: () => payments.mayAdminister(),
		status: () => payments.status(),
		catalog: () => payments.catalog(),
		features: () => payments.features(),
		subscriptions: () => payments.subscriptions()
	}),

	parts() {
		this.subscriptions = new page.Part('div');
		this.features = new page.Part('div');

		this.seller = new page.Part('div');

		this.foot = new page.Part('p', { 'class': 'sp-small sp-foot' });

		return [ this.subscriptions.node, this.features.node, this.seller.node, this.foot.node ];
	},

	draw() {
		const { catalog, features, subscriptions, status, mayBuy, mayAdminister, busy, failed, nextPayments } = this.state;
		const off = page.isOff(this.state);

		this.drawNotices([
			...(mayBuy ? [] : [ [ 'info', [ _('View only: you cannot make changes.'), _('Ask the administrator of this router.') ] ] ]),
			...plans.unpaid(subscriptions),
			...plans.waste(subscriptions, features, catalog)
		]);

		if (!catalog)
			return;

		this.subscriptions.draw([ catalog, subscriptions, status?.purchases, features, off, busy, failed, nextPayments ], () => this.renderSubscriptions(off));
		this.features.draw([ catalog, features, subscriptions, mayAdminister, off, busy, failed, status?.last_sync ], () => this.renderFeatures(off));

		this.foot.draw([ status?.contact, status?.seller?.name ], () => page.contact(status));
		this.seller.draw([ status?.seller, this.bought(), off, busy ], () => status?.seller
			? [ recovery.render(status, this.bought(), off || busy, () => this.refresh()) ] : []);

		if (!off)
			this.askNextPayments();
	},

	/* Whether there is anything that a recovery code could move. */
	bought() {
		const { features, subscriptions } = this.state;

		return subscriptions.length > 0 || Object.values(features).some(feature => feature.unlocked && feature.source != 'manual');
	},

	/* What Stripe will charge next: one request for what runs now, repeated after some minutes. */
	async askNextPayments() {
		const running = this.state.subscriptions.filter(subscription => subscription.next_payment);
		const known = JSON.stringify(running.map(subscription => [ subscription.id, subscription.price, subscription.next_payment ]));

		if (!running.length || (this.asked?.known == known && Date.now() - this.asked.since < PREVIEWED_FOR_MS))
			return;

		this.asked = { known, since: Date.now() };

		const answer = await payments.nextPayments().catch(() => null);

		if (answer && this.asked.known == known) {
			this.state.nextPayments = answer;
			this.draw();
		}
	},

	renderSubscriptions(off) {
		const running = this.state.subscriptions.filter(subscription => !plans.isOver(subscription));
		const over = this.state.subscriptions.filter(subscription => plans.isOver(subscription));

		if (!this.state.subscriptions.length)
			return [];

		return [ E('section', { 'aria-labelledby': 'sp-subscriptions' }, [
			E('h3', { 'id': 'sp-subscriptions' }, [ running.length > 1 ? _('Subscriptions') : _('Subscription') ]),
			...running.map(subscription => this.renderSubscription(subscription, off)),
			running.length ? '' : E('p', {}, [ _('No active subscription.'), ' ',
				E('a', { 'href': L.url('admin/payments/shop') }, [ _('Choose a plan') ]) ]),
			over.length ? E('details', { 'class': 'sp-over' }, [
				E('summary', {}, [ _('Ended subscriptions (%d)').format(over.length) ]),
				...over.map(subscription => this.renderSubscription(subscription, true))
			]) : ''
		]) ];
	},

	renderSubscription(held, off) {
		const subscription = { ...held, next_payment: held.next_payment && (this.state.nextPayments[held.id] ?? held.next_payment) };
		const pending = subscription.pending_change;
		const processing = (this.state.status?.purchases ?? []).some(({ state, price }) =>
			state == 'processing' && price == subscription.price);
		const [ word, kind ] = processing ? [ _('Pending'), 'warning' ] : plans.stateOf(subscription);

		return E('article', { 'class': 'sp-subscription', 'data-subscription': subscription.id }, [
			E('header', {}, [
				E('h4', {}, [ subscription.title ?? subscription.id ]),
				E('span', { 'class': `sp-badge ${kind}` }, [ word ])
			]),
			E('p', { 'class': 'sp-quiet' }, [ plans.amountOf(plans.priceOf(subscription)) ]),
			E('p', { 'class': 'sp-next' }, [ processing ? _('The bank is still processing the payment.') : plans.next(subscription) ]),
			pending ? E('p', { 'class': 'sp-next' }, [
				_('The change to %s is waiting for payment.').format(plans.find(this.state.catalog, pending.price)?.item.title ?? pending.price),
				' ', plans.completion(pending)
			]) : '',
			plans.isOver(subscription) ? '' : this.renderActions(subscription, off)
		]);
	},

	renderActions(subscription, off) {
		const { catalog, features } = this.state;
		const refresh = () => this.refresh();
		const opener = (key, label, style, click) => E('button', {
			'class': `btn cbi-button ${style}`,
			'data-focus': `${key}-${subscription.id}`,
			'data-action': key,
			'disabled': (off || this.state.busy) ? '' : null,
			'click': click
		}, [ label ]);
		const portal = `portal-${subscription.id}`;
		const pays = [ 'past_due', 'unpaid', 'incomplete' ].includes(subscription.status);

		return E('div', { 'class': 'sp-actions' }, [
			this.failure(portal),
			plans.changeable([ subscription ])
				? opener('change', _('Change plan…'), 'cbi-button-action important', () => this.chooseplan(subscription)) : '',
			(plans.isEnding(subscription) || subscription.paused)
				? opener('resume', _('Resume'), 'cbi-button-action important', () => plans.resume(subscription, refresh)) : '',
			this.button(portal, pays ? 'cbi-button-action important' : '',
				pays ? _('Update payment method') : _('Invoices and payment methods'), _('Opening Stripe…'), async () => {
					window.location.assign(await payments.portal(`${window.location.origin}${L.resource(RETURN)}`));
				}, off),
			plans.isEnding(subscription) ? ''
				: opener('cancel', _('Cancel subscription…'), 'cbi-button-negative', () => plans.cancel(subscription, features, catalog, refresh))
		]);
	},

	/* Every price of every plan, then what it costs. */
	chooseplan(subscription) {
		const { features, catalog } = this.state;
		const offers = (catalog.plans ?? []).flatMap(item => item.prices.map(price => ({ item, price,
			current: price.id == subscription.price || price.price_id == subscription.price })));
		const list = E('fieldset', { 'class': 'sp-choices' }, [
			E('legend', { 'class': 'sp-hidden' }, [ _('Plans') ]),
			...offers.map(({ item, price, current }, i) => E('label', { 'class': 'sp-choice' }, [
				E('input', {
					'type': 'radio', 'name': 'sp-plan', 'value': i, 'disabled': current ? '' : null,
					'change': () => dialog.ready(true)
				}),
				E('span', {}, [ E('strong', {}, [ item.title ]), ' ', plans.amountOf(price), ' ',
					current ? E('span', { 'class': 'sp-badge quiet' }, [ _('Current plan') ]) : '' ])
			]))
		]);

		const dialog = new page.Dialog({
			title: _('Change plan'),
			nodes: [
				E('p', {}, [ _('Current plan: %s. You will see the cost in the next step.').format(subscription.title ?? subscription.id) ]),
				offers.some(({ current }) => !current) ? list : E('p', {}, [ _('No other plan available.') ])
			],
			action: _('Next'),
			wait: _('Next'),
			ready: false,
			run: async () => {
				const chosen = offers[list.querySelector('input:checked').value];

				/* LuCI has one dialogue: this one makes room first. */
				window.setTimeout(() => plans.change(subscription, chosen, { features, catalog, done: () => this.refresh() }), 0);
			}
		}).open();
	},

	renderFeatures(off) {
		const { catalog, features, status } = this.state;
		const names = [ ...new Set([ ...Object.keys(catalog.features ?? {}), ...Object.keys(features) ]) ];
		const unlocked = names.filter(name => features[name]?.unlocked);

		return [ E('section', { 'aria-labelledby': 'sp-features' }, [
			E('div', { 'class': 'sp-heading' }, [
				E('h3', { 'id': 'sp-features' }, [ _('Features') ]),
				E('span', { 'class': 'sp-quiet' }, [ _('%d of %d unlocked').format(unlocked.length, names.length) ])
			]),
			names.length ? E('ul', { 'class': 'sp-list' }, names.map(name => this.renderFeature(name)))
				: page.notice('info', [ _('No features are configured on this router.') ]),
			unlocked.length ? '' : E('p', {}, [ E('a', { 'href': L.url('admin/payments/shop') }, [ _('Go to the shop') ]) ]),
			E('div', { 'class': 'sp-sync' }, [
				this.failure('sync'),
				status?.seller ? '' : E('span', { 'class': 'sp-small' }, [ status?.last_sync
					? _('Last checked with Stripe: %s').format(format.dateTime(status.last_sync))
					: _('Not checked with Stripe yet.') ]),
				this.button('sync', '', _('Check now'), status?.seller ? _('Contacting the seller…') : _('Querying Stripe…'), () => payments.sync(), off)
			])
		]) ];
	},

	renderGrant(name, title, feature) {
		const granted = feature.source == 'manual';

		if (!this.state.mayAdminister || (feature.unlocked && !granted))
			return '';

		return E('button', {
			'class': 'sp-link',
			'data-focus': `grant-${name}`,
			'data-action': granted ? 'revoke' : 'grant',
			'disabled': (this.state.trouble || this.state.busy) ? '' : null,
			'aria-label': (granted ? _('Revoke: %s') : _('Grant manually: %s')).format(title),
			'click': () => grants[granted ? 'takeBack' : 'give'](name, title, () => this.refresh())
		}, [ granted ? _('Revoke') : _('Grant manually') ]);
	},

	renderFeature(name) {
		const { catalog, features, subscriptions } = this.state;
		const has = id => catalog.plans?.find(plan => plan.id == id)?.features?.includes(name);
		const plan = subscriptions.find(subscription => !plans.isOver(subscription) && subscription.plan && !has(subscription.plan));
		const feature = features[name] ?? { unlocked: false, reason: 'none' };
		const known = catalog.features?.[name] ?? {};
		const item = [ ...catalog.plans ?? [], ...catalog.products ?? [] ].find(candidate => candidate.id == feature.plan);
		const source = (feature.source == 'manual') ? _('Manual grant')
			: (feature.unlocked ? item?.title ?? feature.plan : '');

		return E('li', { 'class': `sp-feature ${feature.unlocked ? 'unlocked' : 'locked'}`, 'data-feature': name }, [
			E('span', { 'class': 'sp-lock', 'aria-hidden': 'true' }),
			E('div', { 'class': 'sp-what' }, [
				E('strong', {}, [ known.title ?? name ]),
				known.description ? E('span', { 'class': 'sp-quiet' }, [ known.description ]) : ''
			]),
			E('div', { 'class': 'sp-why' }, [
				E('span', { 'class': `sp-badge ${feature.unlocked ? (URGENT.includes(feature.reason) ? 'warning' : 'good') : 'quiet'}` },
					[ feature.unlocked ? _('Unlocked') : _('Locked') ]),
				source ? E('span', { 'class': 'sp-source' }, [ source ]) : '',
				this.renderGrant(name, known.title ?? name, feature),
				feature.disputed ? E('span', { 'class': 'sp-quiet', 'data-disputed': name }, [
					_('Its payment is under dispute; if the dispute is lost, it locks.') ]) : '',
				E('span', { 'class': 'sp-quiet' }, [ story(feature, page.now(this.state.status), this.state.status?.seller, plan?.title ?? plan?.id) ])
			])
		]);
	}
});
