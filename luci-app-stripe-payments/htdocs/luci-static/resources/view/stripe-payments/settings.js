'use strict';
'require ui';
'require uci';
'require stripe-payments.rpc as payments';
'require stripe-payments.page as page';
'require stripe-payments.setup as setup';
'require stripe-payments.doctor as doctor';
'require stripe-payments.configuration as configuration';
'require stripe-payments.tabs as tabs';
'require stripe-payments.recovery as recovery';

/* The form is one, and its parts are on two tabs. */
const OF_FORM = [ 'catalog', 'advanced' ];

return page.Page.extend({
	title: () => _('Settings'),
	description: () => _('Payment settings and health.'),

	initially: () => ({ mayAdminister: null }),

	/* Rights and configuration are rpcd's to know: they do not wait for the daemon. */
	questions: () => ({
		mayAdminister: () => payments.mayAdminister(),
		status: () => payments.status(true)
	}),

	__init__() {
		this.read = payments.reachable().then(() => configuration.read()).then(() => null, error => error);
		this.super('__init__', []);
	},

	/* Who may not change anything has no use for the form: rpcd does not even read it to them. */
	async load() {
		const [ may ] = await Promise.all([ payments.reachable().then(() => payments.mayAdminister()), this.super('load', []) ]);

		if (this.state.status?.seller)
			this.state.mayBuy = await payments.mayBuy();

		this.ours = may && !this.state.status?.managed && !this.state.status?.seller;

		if (!this.ours)
			this.handleSave = this.handleSaveApply = this.handleReset = null;
	},

	parts() {
		this.doctor = new doctor.Doctor();
		this.keys = new setup.Keys(this);
		this.provision = new setup.Provision(this);
		this.webhook = new setup.Webhook(this);

		this.doctor.look();

		this.seller = new page.Part('div');

		if (this.state.status?.seller)
			this.tabs = tabs.render([
				{ id: 'status', label: _('Status'), nodes: [ this.doctor.part.node ] },
				{ id: 'seller', label: _('Seller'), nodes: [ this.seller.node ] }
			], () => {});

		if (!this.ours)
			return [ this.tabs ?? this.doctor.part.node ];

		const form = this.form = E('section', { 'class': 'sp-form', 'aria-label': _('Configuration') }, [
			E('p', { 'class': 'spinning' }, [ _('Loading…') ])
		]);

		/* Its many fields are made when the rest of the page is on the screen. */
		window.requestAnimationFrame(() => window.setTimeout(() => this.showForm(), 0));

		this.tabs = tabs.render([
			{ id: 'status', label: _('Status'), nodes: [ this.doctor.part.node ] },
			{ id: 'stripe', label: _('Stripe'), nodes: [ this.keys.part.node, this.webhook.part.node ] },
			{ id: 'catalog', label: _('Catalog'), nodes: [ this.provision.part.node, form ] },
			{ id: 'advanced', label: _('Advanced'), nodes: [] }
		], (chosen, pane) => {
			const some = OF_FORM.includes(chosen);

			if (some)
				pane.append(form);

			form.setAttribute('data-part', chosen);
			document.body.classList.toggle('sp-nothing-to-save', !some);
		});

		return [ this.tabs ];
	},

	async showForm() {
		const footer = document.querySelector('.cbi-page-actions');

		try {
			const [ refused ] = await Promise.all([ this.read, payments.loaded() ]);

			if (refused)
				throw refused;

			const map = configuration.build();

			this.form.replaceChildren(await map.render());
			this.map = map;
			this.webhook.suggest(uci.get(configuration.CONFIG, 'main', 'public_url'));
			/* LuCI enables its buttons by the form that it finds in the page. */
			footer?.replaceWith(this.addFooter());
		}
		catch (error) {
			this.form.replaceChildren(page.failureNode({ message: _('The configuration cannot be read.'), hint: error.message }));
			footer?.remove();
		}
	},

	/* What the keys decide is asked again. */
	changedKeys(sentence) {
		this.provision.report = null;
		this.webhook.result = null;
		this.doctor.checks = null;
		this.say(sentence);
		this.doctor.look().then(() => this.refresh());
	},

	draw() {
		const { mayAdminister, status, trouble } = this.state;
		const off = trouble != null || !mayAdminister;

		this.drawNotices(mayAdminister ? [] : [ [ 'info', status?.seller ? page.sold(status) : status?.managed ? page.managed()
			: [ _('View only: you cannot make changes.'), _('Ask the administrator of this router.') ] ] ]);
		this.doctor.draw();

		if (this.ours && this.tabs && mayAdminister === false)
			tabs.restrict(this.tabs, 'status');

		if (status?.seller)
			this.drawSeller();

		this.keys.draw(off);
		this.provision.draw(off || status?.mode == 'unconfigured');
		this.webhook.draw(off || status?.mode == 'unconfigured');
	},

	/* Hub mode: who sells, the recovery code, the seller's own pages. */
	drawSeller() {
		const { status, busy } = this.state;
		const off = page.isOff(this.state);

		this.seller.draw([ status.seller, status.contact, off, busy ], () => [
			recovery.render(status, undefined, off || busy, () => this.refresh()),
			E('p', { 'class': 'sp-small sp-foot' }, page.contact(status))
		]);
	},

	/* What is wrong with the form is said by the form; resolves to whether it is saved. */
	handleSave() {
		return this.map ? this.map.save().then(() => true, () => false) : Promise.resolve(false);
	},

	handleSaveApply(ev, mode) {
		return this.handleSave().then(saved => saved && ui.changes.apply(mode == '0'));
	},

	handleReset() {
		return this.map?.reset();
	}
});
