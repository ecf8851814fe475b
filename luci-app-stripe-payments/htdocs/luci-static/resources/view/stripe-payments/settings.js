'use strict';
'require ui';
'require uci';
'require stripe-payments.rpc as payments';
'require stripe-payments.page as page';
'require stripe-payments.setup as setup';
'require stripe-payments.doctor as doctor';
'require stripe-payments.configuration as configuration';

return page.Page.extend({
	title: () => _('Settings'),
	description: () => _('Payment settings and health.'),

	initially: () => ({ mayAdminister: null }),

	questions: () => ({
		mayAdminister: payments.mayAdminister(),
		status: payments.status()
	}),

	/* Who may not change anything has no use for the form: rpcd would not even read it. */
	async load() {
		const [ may ] = await Promise.all([ payments.mayAdminister(), this.super('load', []) ]);

		if (may && !this.state.status?.managed && !this.state.status?.seller)
			try {
				this.map = await configuration.build();
				this.form = await this.map.render();
			}
			catch (error) {
				this.map = null;
				this.unread = error;
			}

		if (!this.map)
			this.handleSave = this.handleSaveApply = this.handleReset = null;
	},

	parts() {
		this.doctor = new doctor.Doctor(this);
		this.keys = new setup.Keys(this);
		this.provision = new setup.Provision(this);
		this.webhook = new setup.Webhook(this);
		this.boxes = E('div', {}, [ this.keys, this.provision, this.webhook ].map(box => box.part.node));

		if (this.map)
			this.webhook.suggest(uci.get(configuration.CONFIG, 'main', 'public_url'));

		/* Stripe is asked: the page does not wait for it. */
		window.setTimeout(() => this.act('check', () => this.doctor.look()), 0);

		return [
			this.doctor.part.node,
			this.boxes,
			this.map ? E('section', { 'class': 'sp-form', 'aria-labelledby': 'sp-configuration' }, [
				E('h3', { 'id': 'sp-configuration' }, [ _('Configuration') ]),
				this.form
			]) : '',
			this.unread ? page.failureNode({ message: _('The configuration cannot be read.'), hint: this.unread.message }) : ''
		];
	},

	draw() {
		const { mayAdminister, status, trouble } = this.state;
		const off = trouble != null || !mayAdminister;

		this.drawNotices(mayAdminister ? [] : [ [ 'info', status?.seller ? page.sold(status) : status?.managed ? page.managed()
			: [ _('View only: you cannot make changes.'), _('Ask the administrator of this router.') ] ] ]);
		this.doctor.draw();
		this.boxes.hidden = !mayAdminister;
		this.keys.draw(off);
		this.provision.draw(off || status?.mode == 'unconfigured');
		this.webhook.draw(off || status?.mode == 'unconfigured');
	},

	/* What is wrong with the form is said by the form; resolves to whether it is saved. */
	handleSave() {
		return this.map.save().then(() => true, () => false);
	},

	handleSaveApply(ev, mode) {
		return this.handleSave().then(saved => saved && ui.changes.apply(mode == '0'));
	},

	handleReset() {
		return this.map.reset();
	}
});
