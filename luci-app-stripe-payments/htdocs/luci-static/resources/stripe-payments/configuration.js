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

function address(section, name, title, description) {
	const option = text(section, name, title, description);

	option.placeholder = 'https://router.example.org';
	option.validate = (_section, value) => !value || isAddress(value) || _('An address that begins with http:// or https://.');

	return option;
}

function general(map) {
	const section = map.section(form.NamedSection, 'main', 'payments', _('General'));
	let option;

	option = section.option(form.Flag, 'enabled', _('Payments are on'),
		_('Switched off, nothing can be bought; what is owned stays unlocked.'));
	option.default = '1';
	option.rmempty = false;

	address(section, 'public_url', _('Public address'),
		_('How the Internet reaches this router, if it does.'));
	address(section, 'phone_return_url', _('Return address for phones'),
		_('Where a phone that is not on this network comes back to after paying. Empty: the public address.'));
	number(section, 'poll_interval', _('Ask Stripe every … seconds'),
		_('While nothing is being bought.'), [ 60, 86400, '900' ]);
	number(section, 'grace_days', _('Days of grace'),
		_('So long features stay unlocked after a renewal could not be charged.'), [ 0, 365, '7' ]);
	number(section, 'offline_days', _('Days without Stripe'),
		_('So long features stay unlocked past their period while Stripe cannot be reached.'), [ 0, 3650, '30' ]);

	option = section.option(form.ListValue, 'locale', _('Language of Stripe’s pages'));
	option.value('auto', _('As the buyer’s browser'));
	option.value('en', 'English');
	option.value('it', 'Italiano');
	option.default = 'auto';

	option = section.option(form.Flag, 'allow_promotion_codes', _('Promotion codes'),
		_('Stripe’s page takes them; they are made in Stripe’s Dashboard.'));
	option.rmempty = false;

	option = section.option(form.Flag, 'automatic_tax', _('Stripe computes taxes'),
		_('Stripe Tax has to be set up in Stripe’s Dashboard first.'));
	option.rmempty = false;

	option = section.option(form.DynamicList, 'allowed_origin', _('Other origins'),
		_('Web sites besides this router that buyers may come back to.'));
	option.placeholder = 'https://portal.example.org';
	option.validate = (_section, value) => !value || isAddress(value) || _('An address that begins with http:// or https://.');

	option = section.option(form.DynamicList, 'listen', _('Own server for the Internet side'),
		_('Address and port of a server for the webhook and the return pages alone.'));
	option.placeholder = '0.0.0.0:8443';
}

function table(map, type, title, description) {
	const section = map.section(form.GridSection, type, title, description);

	section.addremove = true;
	section.sortable = true;
	section.nodescriptions = true;
	section.modaltitle = name => `${title} » ${name}`;

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

	const product = text(section, 'stripe_product', _('Sold at Stripe as'),
		_('A plan or product of this list whose product at Stripe it shares, or the id of one there (prod_…). Empty: one of its own.'));

	product.modalonly = true;
	product.validate = (_section, value) => !value || NAME.test(value) || _('Letters, digits and underscores only.');
}

function prices(map) {
	const section = table(map, 'price', _('Prices'),
		_('The name of a price is its lookup key at Stripe. After a change look at “Products and prices at Stripe” again.'));
	let option;

	option = section.option(form.ListValue, 'of', _('Price of'));
	[ 'plan', 'product' ].flatMap(type => uci.sections(CONFIG, type)).forEach(sold =>
		option.value(sold['.name'], sold.title ?? sold['.name']));

	/* In the file it is minor units: nobody counts in cents. */
	option = text(section, 'amount', _('Amount'));
	option.rmempty = false;
	option.cfgvalue = function(name) {
		const amount = uci.get(CONFIG, name, 'amount');

		return amount == null ? null : format.decimal(amount, uci.get(CONFIG, name, 'currency') ?? 'eur');
	};
	option.textvalue = name => E('span', {}, [ format.money(uci.get(CONFIG, name, 'amount'), uci.get(CONFIG, name, 'currency') ?? 'eur') ]);
	option.currencyOf = function(name) {
		const sibling = this.section.children.find(candidate => candidate.option == 'currency');

		return sibling?.formvalue(name) || uci.get(CONFIG, name, 'currency') || 'eur';
	};
	option.validate = function(name, value) {
		return format.minor(value, this.currencyOf(name)) != null || _('An amount such as 4.99.');
	};
	option.write = function(name, value) {
		uci.set(CONFIG, name, 'amount', String(format.minor(value, this.currencyOf(name))));
	};

	option = text(section, 'currency', _('Currency'));
	option.default = 'eur';
	option.rmempty = false;
	option.modalonly = true;
	option.validate = (_section, value) => /^[A-Za-z]{3}$/.test(value) || _('A code of three letters, such as eur.');

	option = section.option(form.ListValue, 'interval', _('Paid'));
	option.value('none', _('Once'));
	option.value('month', _('Monthly'));
	option.value('year', _('Yearly'));
	option.default = 'none';

	option = number(section, 'trial_days', _('Days of trial'),
		_('Free days before the first payment, for a router that never had a subscription.'), [ 0, 730, '0' ]);
	option.modalonly = true;
	option.depends('interval', 'month');
	option.depends('interval', 'year');

	option = section.option(form.Flag, 'trial_requires_card', _('The trial asks for a card'),
		_('Without one it ends by itself.'));
	option.default = '1';
	option.rmempty = false;
	option.retain = true;
	option.modalonly = true;
	option.depends('interval', 'month');
	option.depends('interval', 'year');

	option = text(section, 'price_id', _('Price at Stripe'), _('Filled in by “Create at Stripe”, or by hand.'));
	option.placeholder = 'price_…';
	option.modalonly = true;
	option.validate = (_section, value) => !value || /^price_[A-Za-z0-9_]+$/.test(value) || _('It begins with price_.');
}

return baseclass.extend({
	CONFIG,

	/** Resolves to the form's map, not yet rendered; rejects where the configuration may not be read. */
	async build() {
		await uci.load(CONFIG);

		const map = new form.Map(CONFIG);

		map.tabbed = true;
		general(map);
		sellable(map, 'plan', _('Plans'), _('Paid by the month or year. Each lists all of its features, those of the plan below included.'));
		sellable(map, 'product', _('Products'), _('Paid once, for ever.'));
		prices(map);
		words(table(map, 'feature', _('Features'), _('The names that the programs on this router ask for.')));

		return map;
	}
});
