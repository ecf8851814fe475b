'use strict';
'require baseclass';
'require form';
'require uci';
'require stripe-payments.format as format';

/*
 * The configuration as a form: what is sold and how, without a single key.
 */
const CONFIG = 'stripe-payments';
const NAME = /^[A-Za-z0-9_]+$/;

function isAddress(value) {
	try {
		return [ 'http:', 'https:' ].includes(new URL(value).protocol);
	}
	catch {
		return false;
	}
}

function text(section, name, title, description) {
	return section.option(form.Value, name, title, description);
}

/* A number with its bounds; empty means what the placeholder says. */
function number(section, name, title, description, [ least, most, preset ]) {
	const option = text(section, name, title, description);

	option.datatype = `range(${least},${most})`;
	option.placeholder = preset;

	return option;
}

function urlOnly(option, placeholder = 'https://router.example.org') {
	option.placeholder = placeholder;
	option.validate = (_section, value) => !value || isAddress(value) || _('Enter a URL that starts with http:// or https://.');
}

/* A switch, written also where it has its preset. */
function flag(section, name, title, description, preset = '0') {
	const option = section.option(form.Flag, name, title, description);

	option.default = preset;
	option.rmempty = false;
	/* The label of LuCI's checkbox is empty. */
	option.renderWidget = function(...args) {
		const node = form.Flag.prototype.renderWidget.apply(this, args);

		node.querySelector('input[type="checkbox"]').setAttribute('aria-label', this.title);
		return node;
	};

	return option;
}

/* One of several values; the first applies where the file has none. In tables LuCI shows what the file has. */
function choice(section, name, title, description, values) {
	const option = section.option(form.ListValue, name, title, description);
	const labels = Object.fromEntries(values);

	values.forEach(([ value, label ]) => option.value(value, label));
	option.default = values[0]?.[0];
	option.textvalue = sid => {
		const value = uci.get(CONFIG, sid, name) ?? option.default;

		return E('span', {}, [ labels[value] ?? value ?? '' ]);
	};

	return option;
}

function general(map) {
	const section = map.section(form.NamedSection, 'main', 'payments', _('General'));

	flag(section, 'enabled', _('Enable payments'),
		_('When off, nothing can be bought; purchases stay unlocked.'), '1');

	flag(section, 'managed', _('Managed router'),
		_('Remove Settings, refunds and manual grants from LuCI for everybody. Only root’s shell has them then, and can switch this off.'));

	text(section, 'seller', _('Seller'),
		_('Who sells, as buyers see it: on the pages, on Stripe’s payment page and portal, in receipts.'));
	urlOnly(text(section, 'support_url', _('Support page')), 'https://example.com/support');
	urlOnly(text(section, 'terms_url', _('Terms of service')), 'https://example.com/terms');
	urlOnly(text(section, 'privacy_url', _('Privacy policy')), 'https://example.com/privacy');

	urlOnly(text(section, 'public_url', _('Public URL'),
		_('Public URL of this router, if any.')));
	urlOnly(text(section, 'phone_return_url', _('Return URL for phones'),
		_('Where a phone outside this network returns to after paying. Leave empty to use the public URL.')));
	number(section, 'poll_interval', _('Polling interval (seconds)'),
		_('Used while no purchase is open.'), [ 60, 86400, '900' ]);
	number(section, 'grace_days', _('Grace period (days)'),
		_('How long features stay unlocked after a failed renewal.'), [ 0, 365, '7' ]);
	number(section, 'offline_days', _('Offline tolerance (days)'),
		_('How long features stay unlocked after their period while Stripe is unreachable.'), [ 0, 3650, '30' ]);

	choice(section, 'locale', _('Language of Stripe pages'), null,
		[ [ 'auto', _('Buyer’s browser language') ], [ 'en', 'English' ], [ 'it', 'Italiano' ] ]);
	flag(section, 'allow_promotion_codes', _('Promotion codes'),
		_('Accepted on Stripe’s payment page; create them in the Stripe Dashboard.'));
	flag(section, 'trust_pending_debits', _('Trust pending bank debits'),
		_('Unlock a plan while its first bank debit is processing, before the money arrives.'));
	flag(section, 'lock_paused', _('Lock paused plans'),
		_('Lock a plan while its payment collection is paused at Stripe. By default the customer keeps it.'));
	flag(section, 'automatic_tax', _('Automatic tax'),
		_('Requires Stripe Tax, set up in the Stripe Dashboard.'));
	choice(section, 'tax_behavior', _('Tax in prices'),
		_('Prices at Stripe keep it: after a change, check the products and replace the prices.'),
		[ [ '', _('As set in the Stripe account') ], [ 'inclusive', _('Prices include tax') ], [ 'exclusive', _('Tax is added to prices') ] ]);
	flag(section, 'tax_id_collection', _('VAT numbers'),
		_('Stripe’s payment page has a field for a VAT number.'));
	flag(section, 'invoice_creation', _('Invoices for one-time purchases'),
		_('Stripe charges a fee for each. Subscriptions always have invoices.'));
	flag(section, 'terms_of_service', _('Consent to terms'),
		_('Buyers must accept your terms of service. Set their URL in the Stripe Dashboard first, under Public details.'));

	urlOnly(section.option(form.DynamicList, 'allowed_origin', _('Allowed return origins'),
		_('Websites, besides this router, that buyers may return to.')), 'https://portal.example.org');
	section.option(form.DynamicList, 'listen', _('Separate public listener'),
		_('Address and port for the webhook and the return pages only.')).placeholder = '0.0.0.0:8443';
}

function table(map, type, title, description) {
	const section = map.section(form.GridSection, type, title, description);

	section.addremove = true;
	section.sortable = true;
	section.nodescriptions = true;
	section.modaltitle = name => `${title} » ${name}`;
	/* LuCI's field has neither a label nor a placeholder. */
	section.renderSectionAdd = function(...args) {
		const node = form.GridSection.prototype.renderSectionAdd.apply(this, args);
		const field = node.querySelector?.('.cbi-section-create-name');

		field?.setAttribute('placeholder', _('New name'));
		field?.setAttribute('aria-label', '%s: %s'.format(title, _('New name')));

		return node;
	};
	/* LuCI's column of buttons has no heading. */
	section.renderHeaderRows = function(...args) {
		const rows = form.GridSection.prototype.renderHeaderRows.apply(this, args);

		rows.querySelector('.cbi-section-actions')?.append(E('span', { 'class': 'sp-hidden' }, [ _('Actions') ]));
		return rows;
	};
	/* LuCI's dialogue has no name. What it shows next has another title, without this id. */
	section.renderMoreOptionsModal = async function(...args) {
		await form.GridSection.prototype.renderMoreOptionsModal.apply(this, args);

		const dialogue = document.querySelector('#modal_overlay .modal');

		dialogue.querySelector('h4').id = 'sp-section-title';
		dialogue.setAttribute('aria-labelledby', 'sp-section-title');
	};

	return section;
}

/* What a plan, a product and a feature have: a title and a description in two languages. */
function words(section) {
	text(section, 'title', _('Title')).rmempty = false;
	text(section, 'title_it', _('Title (Italian)')).modalonly = true;
	text(section, 'description', _('Description')).modalonly = true;
	text(section, 'description_it', _('Description (Italian)')).modalonly = true;
}

function sellable(map, type, title, description) {
	const section = table(map, type, title, description);

	words(section);

	const features = section.option(form.MultiValue, 'feature', _('Features'));

	uci.sections(CONFIG, 'feature').forEach(feature => features.value(feature['.name'], feature.title ?? feature['.name']));
	features.textvalue = function(name) {
		return E('span', {}, [ L.toArray(this.cfgvalue(name)).map(key =>
			uci.get(CONFIG, key, 'title') ?? key).join(', ') ]);
	};

	const product = text(section, 'stripe_product', _('Stripe product'),
		_('The plan or product whose Stripe product it shares, or a Stripe product ID (prod_…). Leave empty for its own product.'));

	product.modalonly = true;
	product.validate = (_section, value) => !value || NAME.test(value) || _('Letters, digits and underscores only.');
}

function prices(map) {
	const section = table(map, 'price', _('Prices'),
		_('The name of a price is its lookup key at Stripe. After a change, run “Check products” again.'));
	let option;

	choice(section, 'of', _('Price of'), null, [ 'plan', 'product' ].flatMap(type => uci.sections(CONFIG, type))
		.map(sold => [ sold['.name'], sold.title ?? sold['.name'] ])).default = null;

	/* Minor units in the file, major units on the page. */
	option = text(section, 'amount', _('Amount'));
	option.rmempty = false;
	option.cfgvalue = function(name) {
		const amount = uci.get(CONFIG, name, 'amount');

		return amount == null ? null : format.entry(amount, uci.get(CONFIG, name, 'currency') ?? 'eur');
	};
	option.textvalue = name => E('span', {}, [ format.money(uci.get(CONFIG, name, 'amount'), uci.get(CONFIG, name, 'currency') ?? 'eur') ]);
	option.currencyOf = function(name) {
		const sibling = this.section.children.find(candidate => candidate.option == 'currency');

		return sibling?.formvalue(name) || uci.get(CONFIG, name, 'currency') || 'eur';
	};
	/* As the daemon's settings: what Stripe would not charge is not for sale. */
	option.validate = function(name, value) {
		const currency = this.currencyOf(name);
		const amount = format.minor(value, currency);
		const { step, minimum, maximum } = format.limits(currency);

		if (amount == null)
			return _('An amount such as 4.99.');

		if (amount % step)
			return _('Stripe requires a multiple of %s.').format(format.money(step, currency));

		if (amount > 0 && amount < minimum)
			return _('Stripe’s minimum is %s.').format(format.money(minimum, currency));

		return amount <= maximum || _('Stripe’s maximum is %s.').format(format.money(maximum, currency));
	};
	option.write = function(name, value) {
		uci.set(CONFIG, name, 'amount', String(format.minor(value, this.currencyOf(name))));
	};

	option = text(section, 'currency', _('Currency'));
	option.default = 'eur';
	option.rmempty = false;
	option.modalonly = true;
	option.validate = (_section, value) => /^[A-Za-z]{3}$/.test(value) || _('A code of three letters, such as eur.');

	choice(section, 'interval', _('Paid'), null,
		[ [ 'none', _('Once') ], [ 'month', _('Monthly') ], [ 'year', _('Yearly') ] ]);

	option = number(section, 'trial_days', _('Free trial (days)'),
		_('For routers that have never had a subscription.'), [ 0, 730, '0' ]);
	option.modalonly = true;
	option.depends('interval', 'month');
	option.depends('interval', 'year');

	option = flag(section, 'trial_requires_card', _('Trial requires a card'),
		_('Without a card the trial ends automatically.'), '1');
	option.retain = true;
	option.modalonly = true;
	option.depends('interval', 'month');
	option.depends('interval', 'year');

	option = text(section, 'price_id', _('Stripe price ID'), _('Filled in by “Create at Stripe”, or enter it manually.'));
	option.placeholder = 'price_…';
	option.modalonly = true;
	option.validate = (_section, value) => !value || /^price_[A-Za-z0-9_]+$/.test(value) || _('It starts with price_.');
}

return baseclass.extend({
	CONFIG,

	/** Resolves when the configuration is read; rejects where it may not be. */
	read() {
		return uci.load(CONFIG);
	},

	/** The form's map, not yet rendered, of a configuration that is read. */
	build() {
		const map = new form.Map(CONFIG);

		sellable(map, 'plan', _('Plans'), _('Recurring. List every feature, including those of lower plans.'));
		sellable(map, 'product', _('Products'), _('One-time payment, no end date.'));
		prices(map);
		words(table(map, 'feature', _('Features'), _('Names that packages on this router query.')));
		general(map);

		return map;
	}
});
