'use strict';
'require baseclass';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';
'require stripe-payments.page as page';
'require stripe-payments.plans as plans';
'require stripe-payments.seller as seller';

/*
 * On LuCI's status overview: what this router has, and what needs attention.
 */
function link(to, label) {
	return E('a', { 'href': L.url('admin/payments', to) }, [ label ]);
}

/* What needs an action: [ kind, sentence, page, words of the link ] */
function attention({ status, features, subscriptions }) {
	const found = [];
	const first = reason => Object.values(features).find(feature => feature.unlocked && feature.reason == reason);
	const stripe = page.stripeState(status);

	if (status.enabled === false)
		found.push([ 'info', _('Payments are disabled on this router.'), 'settings', _('Settings') ]);
	else if (status.seller)
		found.push(...[ seller.trouble(status) ].filter(Boolean).map(([ kind, words ]) => [ kind, words[0], 'settings', _('Diagnostics') ]));
	else if (status.mode == 'unconfigured')
		found.push([ 'info', _('Payments are not set up yet.'), 'settings', _('Settings') ]);
	else if (stripe == 'unreachable')
		found.push([ 'warning', _('Stripe cannot be reached from this router.'), 'settings', _('Diagnostics') ]);
	else if (stripe == 'unauthorized')
		found.push([ 'error', _('Stripe does not accept the key of this router.'), 'settings', _('Diagnostics') ]);

	if (first('grace'))
		found.push([ 'error', _('The last payment failed. Features lock on %s unless it is paid.')
			.format(format.date(first('grace').until)), 'features', _('My features') ]);
	else if (subscriptions.some(subscription => [ 'past_due', 'unpaid' ].includes(subscription.status)))
		found.push([ 'error', _('The last payment failed.'), 'features', _('My features') ]);

	if (first('ending'))
		found.push([ 'warning', _('Features lock on %s: the subscription ends.')
			.format(format.date(first('ending').until)), 'features', _('My features') ]);

	return found;
}

return baseclass.extend({
	title: _('Payments'),

	/* Never rejects: a login without the right to see payments sees no box, and the rest of the overview is not held up. */
	async load() {
		const asked = this.last ??= Promise.all([
			page.loadStyles('common'), payments.status(), payments.catalog(), payments.features(), payments.subscriptions()
		]).then(([ , status, catalog, features, subscriptions ]) => ({ status, catalog, features, subscriptions }))
			.catch(error => ({ error }))
			.finally(() => { this.last = null; });

		payments.openHttpSession().catch(() => {});

		return asked;
	},

	render({ error, status, catalog, features, subscriptions }) {
		if (error)
			return [ 'permission_denied', 'login_required' ].includes(error.code) ? null
				: E('div', { 'class': 'sp-widget' }, [ page.notice('error', [ error.message, error.hint ]) ]);

		const names = Object.keys(features);
		const unlocked = names.filter(name => features[name].unlocked);
		const owned = [ ...catalog.plans ?? [], ...catalog.products ?? [] ].filter(item => item.prices?.some(price => price.owned));
		const current = subscriptions.find(subscription => !plans.isOver(subscription));
		const needs = attention({ status, features, subscriptions });
		/* A notice about the subscription says what happens next. */
		const said = needs.some(([ , , to ]) => to == 'features');

		return E('div', { 'class': 'sp-widget' }, [
			E('div', { 'class': 'sp-plan' }, [
				E('strong', {}, [ owned.length ? format.list(owned.map(item => item.title)) : _('No plan') ]),
				status.mode == 'test' ? E('span', { 'class': 'sp-badge warning' }, [ _('Test mode') ]) : '',
				E('span', { 'class': 'sp-quiet' }, [ _('%d of %d features unlocked').format(unlocked.length, names.length) ]),
				(current && !said) ? E('span', { 'class': 'sp-quiet' }, [ plans.next(current) ]) : '',
				E('span', { 'class': 'sp-links' }, [
					link('features', _('My features')), ' ',
					unlocked.length < names.length ? link('shop', _('Shop')) : ''
				])
			]),
			...needs.map(([ kind, sentence, to, label ]) =>
				E('div', { 'class': `sp-notice ${kind}` }, [ sentence, ' ', link(to, label) ]))
		]);
	}
});
