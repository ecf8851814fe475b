'use strict';
'require baseclass';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';
'require stripe-payments.page as page';

/*
 * Setting payments up: the keys, the products and prices at Stripe, the webhook.
 * Each is a box that is drawn from the state of its page.
 */
const KEYS = [ 'secret_key', 'publishable_key', 'webhook_secret' ];

const WEBHOOK_PATH = '/api/payments/webhook';

function labelOf(key) {
	switch (key) {
	case 'secret_key': return [ _('Secret key'), 'sk_test_… / rk_live_…' ];
	case 'publishable_key': return [ _('Publishable key'), 'pk_test_… / pk_live_…' ];
	default: return [ _('Webhook secret'), 'whsec_…' ];
	}
}

function modeOf(mode) {
	switch (mode) {
	case 'test': return [ _('Test mode'), 'warning' ];
	case 'live': return [ _('Live mode'), 'good' ];
	default: return [ _('Not set up'), 'quiet' ];
	}
}

function stateOf({ state, action, dry }) {
	if (action == 'create')
		return dry ? [ _('will be created'), 'warning' ] : [ _('created'), 'good' ];

	if (action == 'replace')
		return [ _('replaced'), 'good' ];

	switch (state) {
	case 'found': return [ _('exists'), 'good' ];
	case 'missing': return [ _('missing'), 'warning' ];
	case 'different': return [ _('differs'), 'bad' ];
	case 'inactive': return [ _('archived'), 'bad' ];
	default: return [ state, 'quiet' ];
	}
}

/* A title, a mark, words under it, and what the box holds. */
function box(id, title, badge, words, nodes) {
	return E('section', { 'class': 'sp-box', 'id': id, 'aria-labelledby': `${id}-title` }, [
		E('header', {}, [
			E('h3', { 'id': `${id}-title` }, [ title ]),
			badge ? E('span', { 'class': `sp-badge ${badge[1]}` }, [ badge[0] ]) : ''
		]),
		E('p', { 'class': 'sp-quiet' }, [ words ]),
		...nodes
	]);
}

/** The keys: fields that take a new one and show only what ends the stored one. */
class Keys {
	constructor(view) {
		this.view = view;
		this.fields = Object.fromEntries(KEYS.map(key => [ key, E('input', {
			'type': 'password', 'class': 'cbi-input-text', 'id': `sp-key-${key}`, 'autocomplete': 'new-password',
			'spellcheck': 'false', 'placeholder': labelOf(key)[1], 'aria-describedby': `sp-stored-${key}`
		}) ]));
		this.part = new page.Part('div');
	}

	draw(off) {
		const { status, busy, failed } = this.view.state;

		this.part.draw([ status?.keys, status?.mode, busy, failed.keys, off ], () => [ box('sp-keys', _('Stripe keys'), modeOf(status?.mode),
			_('From the Stripe Dashboard, under Developers → API keys. They are stored on this router: LuCI cannot read them back, but root can read the file.'), [
				E('div', { 'class': 'sp-fields' }, KEYS.flatMap(key => this.row(key, status?.keys?.[key], off))),
				this.view.failure('keys'),
				E('div', { 'class': 'sp-actions' }, [
					this.view.button('keys', 'cbi-button-action important', _('Save keys'), _('Saving…'), () => this.store(), off)
				])
			]) ]);
	}

	row(key, stored, off) {
		const field = this.fields[key];

		field.disabled = off || this.view.state.busy == 'keys';

		return [
			E('label', { 'for': field.id }, [ labelOf(key)[0] ]),
			E('div', {}, [
				field,
				E('span', { 'class': 'sp-small', 'id': `sp-stored-${key}` }, stored
					? [ _('Saved: %s').format(stored), ' ', E('button', {
						'class': 'sp-link', 'data-focus': `remove-${key}`, 'disabled': off ? '' : null,
						'aria-label': _('Remove: %s').format(labelOf(key)[0]),
						'click': () => this.remove(key)
					}, [ _('Remove') ]) ]
					: [ _('Not set.') ])
			])
		];
	}

	async store() {
		const given = Object.fromEntries(KEYS.map(key => [ key, this.fields[key].value.trim() || undefined ]));

		if (!KEYS.some(key => given[key]))
			throw new payments.PaymentError('nothing', _('No key entered.'), _('Enter only the keys you want to change.'));

		if (!given.secret_key)
			return this.save(given);

		/* A mistyped key, or one of the other mode, must not take the place of one that works. */
		const { mode, accepted, other_account: foreign, locks } = await payments.tryKeys(given);

		if (accepted === false)
			throw new payments.PaymentError('refused', _('Stripe does not accept this secret key.'),
				_('Nothing was changed. Copy the key again from the Stripe Dashboard.'));

		if (!this.view.state.status?.keys?.secret_key || (accepted && !foreign && !locks.length))
			return this.save(given);

		new page.Dialog({
			title: _('Replace the secret key'),
			nodes: [
				accepted ? '' : E('p', {}, [ _('Stripe cannot be reached now, so it is not known whether this key works.') ]),
				foreign ? E('p', {}, [ _('This key belongs to another Stripe account, which does not know what was bought here: plans are still charged by the present account, and their features lock after their period and the offline tolerance.') ]) : '',
				locks.length ? E('p', {}, [ (mode == 'live')
					? _('This is a live key. Features bought in test mode lock: %d.').format(locks.length)
					: _('Features lock with this key: %d.').format(locks.length) ]) : '',
				locks.length ? E('ul', { 'class': 'sp-plain' }, locks.map(name => E('li', {}, [ name ]))) : ''
			],
			leave: _('Keep the saved key'),
			action: _('Replace'),
			wait: _('Saving…'),
			style: 'cbi-button-negative important',
			run: () => this.save(given)
		}).open();
	}

	async save(given) {
		await payments.setKeys(given);
		KEYS.forEach(key => { this.fields[key].value = ''; });
		this.view.changedKeys(_('The keys are saved.'));
	}

	remove(key) {
		new page.Dialog({
			title: _('Remove: %s').format(labelOf(key)[0]),
			nodes: [ E('p', {}, [ key == 'webhook_secret'
				? _('Webhook events will be rejected. The router still polls Stripe, with more delay.')
				: (key == 'secret_key'
					? _('Nothing can be bought and polling stops. Unlocked features stay unlocked until they expire.')
					: _('The pages of this router do not need it.')) ]) ],
			action: _('Remove'),
			wait: _('Removing…'),
			style: 'cbi-button-negative important',
			run: async () => {
				await payments.setKeys({ [key]: '' });
				this.view.changedKeys(_('The key is removed.'));
			}
		}).open();
	}
}

/** Products and prices at Stripe: first what would be made, then make it. */
class Provision {
	constructor(view) {
		this.view = view;
		this.report = null;
		this.part = new page.Part('div');
	}

	draw(off) {
		const { busy, failed } = this.view.state;
		const missing = [ ...this.report?.products ?? [], ...this.report?.prices ?? [] ].filter(row => row.action);

		this.part.draw([ this.report, busy, failed.look, failed.create, off ], () => [ box('sp-provision', _('Products and prices at Stripe'), null,
			_('Products must exist in Stripe. This only checks; nothing is created until you confirm.'), [
				this.report ? this.table() : '',
				this.view.failure('look'),
				this.view.failure('create'),
				E('div', { 'class': 'sp-actions' }, [
					this.view.button('look', missing.length && this.report.dry_run ? '' : 'cbi-button-action important',
						_('Check products'), _('Querying Stripe…'), async () => { this.report = await payments.inspect(); }, off),
					this.differing().length ? E('button', {
						'class': 'btn cbi-button', 'data-focus': 'replace', 'disabled': (off || busy) ? '' : null,
						'click': () => this.replace()
					}, [ _('Replace changed prices (%d)').format(this.differing().length) ]) : '',
					/* Last: when it is done and goes, nothing moves under a double click. */
					(missing.length && this.report.dry_run) ? this.view.button('create', 'cbi-button-action important',
						_('Create at Stripe (%d)').format(missing.length), _('Creating…'), async () => { this.report = await payments.provision(); }, off) : ''
				])
			]) ]);
	}

	differing() {
		return (this.report?.prices ?? []).filter(line => [ 'different', 'inactive' ].includes(line.state) && !line.action);
	}

	/* Prices cannot be changed at Stripe: a new one takes the place of the old. */
	replace() {
		new page.Dialog({
			title: _('Replace changed prices (%d)').format(this.differing().length),
			nodes: [
				E('p', {}, [ _('Stripe prices are immutable: new ones are created from this configuration and sold from now on. Existing subscriptions keep the old prices.') ]),
				E('ul', { 'class': 'sp-plain' }, this.differing().map(line => E('li', {}, [ E('strong', {}, [ line.id ]), ' ', line.detail ])))
			],
			action: _('Create new prices'),
			wait: _('Creating…'),
			run: async () => { this.report = await payments.provision(true); },
			done: () => this.view.refresh()
		}).open();
	}

	/* Each product with its prices under it; what a price is for, where the product at Stripe bears another title. */
	table() {
		const { products, prices, problems, dry_run: dry } = this.report;
		const apart = this.differing().length;
		const badge = row => {
			const [ word, kind ] = stateOf({ ...row, dry });

			return E('span', { 'class': `sp-badge ${kind}` }, [ word ]);
		};
		const row = (key, name, amount, line) => E('tr', { 'data-provision': key, 'class': amount ? 'sp-price-row' : null }, [
			E('td', { 'class': 'what' }, [ name, line.detail ? E('p', { 'class': 'sp-small' }, [ line.detail, '. ', line.user_hint ?? line.hint ?? '' ]) : '' ]),
			E('td', { 'class': 'amount' }, [ amount ]),
			E('td', { 'class': 'state' }, [ badge(line) ])
		]);
		const made = [ ...products, ...prices ].filter(line => line.action).length;

		return E('div', {}, [
			E('table', { 'class': 'sp-table small sp-provision' }, [
				E('caption', { 'class': 'sp-hidden' }, [ _('Products and prices at Stripe') ]),
				E('thead', {}, [ E('tr', {}, [ _('Item'), _('Amount'), _('At Stripe') ].map((text, i) =>
					E('th', { 'scope': 'col', 'class': i == 1 ? 'amount' : null }, [ text ]))) ]),
				E('tbody', {}, [
					...products.flatMap(product => [
						row(`product-${product.id}`, E('strong', {}, [ product.title ]), '', product),
						...prices.filter(price => price.product == product.id).map(price => row(`price-${price.id}`,
							(price.title == product.title) ? price.id : '%s: %s'.format(price.title, price.id),
							'%s %s'.format(format.money(price.amount, price.currency), format.period(price.interval)), price))
					])
				])
			]),
			(problems ?? []).length ? page.notice('warning', [
				_('Not for sale until it is corrected:'),
				E('ul', { 'class': 'sp-plain' }, problems.map(problem => E('li', {}, [ problem ])))
			]) : '',
			E('p', { 'role': 'status' }, [ dry
				? (made ? _('Missing at Stripe: %d').format(made)
					: apart ? _('Nothing is missing, but prices differ: %d').format(apart) : _('Everything exists; nothing to create.'))
				: _('Done: %d created. The prices are on sale.').format(made) ])
		]);
	}
}

/** The webhook: an address that Stripe reaches, and its secret made and kept. */
class Webhook {
	constructor(view) {
		this.view = view;
		this.result = null;
		this.field = E('input', {
			'type': 'url', 'class': 'cbi-input-text', 'id': 'sp-webhook-url', 'spellcheck': 'false',
			'placeholder': 'https://router.example.org'
		});
		this.part = new page.Part('div');
	}

	/* What the configuration knows of this router's address in the Internet. */
	suggest(publicUrl) {
		if (!this.field.value && publicUrl)
			this.field.value = publicUrl.replace(/\/+$/, '') + WEBHOOK_PATH;
	}

	draw(off) {
		const { status, busy, failed } = this.view.state;
		const set = status?.webhook == 'configured';

		this.field.disabled = off || busy == 'webhook';
		this.part.draw([ status?.webhook, status?.webhook_url, status?.webhook_last_delivery, busy, failed.webhook, this.result, off ], () => [ box('sp-webhook', _('Webhook'),
			set ? [ _('Set up'), 'good' ] : [ _('Not set up'), 'quiet' ],
			_('Optional, for routers reachable from the internet: instant updates. Otherwise the router polls Stripe.'), [
				set ? E('dl', { 'class': 'sp-facts' }, [
					E('dt', {}, [ _('Registered address') ]),
					E('dd', {}, [ status.webhook_url ?? _('Not known: the secret was entered manually.') ]),
					E('dt', {}, [ _('Last delivery') ]),
					E('dd', {}, [ format.dateTime(status.webhook_last_delivery) || _('None yet.') ])
				]) : '',
				E('div', { 'class': 'sp-fields' }, [
					E('label', { 'for': 'sp-webhook-url' }, [ _('Address') ]),
					this.field
				]),
				this.result ? E('p', { 'class': 'sp-done', 'role': 'status' }, [ this.result.detail || _('The webhook is set up.') ]) : '',
				this.view.failure('webhook'),
				E('div', { 'class': 'sp-actions' }, [
					this.view.button('webhook', 'cbi-button-action important', set ? _('Set up again') : _('Set up the webhook'), _('Setting up…'), async () => {
						this.result = null;
						this.result = await payments.setupWebhook(this.field.value.trim());
					}, off)
				])
			]) ]);
	}
}

return baseclass.extend({ Keys, Provision, Webhook, box });
