'use strict';
'require baseclass';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';
'require stripe-payments.page as page';
'require stripe-payments.setup as setup';

/*
 * The diagnostics: what is checked, what is wrong, and what to do about it. The
 * worst comes first.
 */
const RANK = { bad: 0, warning: 1, info: 2, good: 3 };

function kindOf(check) {
	switch (check.severity) {
	case 'ok': return 'good';
	case 'info':
	case 'warning': return check.severity;
	default: return check.ok ? 'good' : 'bad';
	}
}

function titleOf(id) {
	switch (id) {
	case 'settings': return _('Configuration');
	case 'enabled': return _('Payments switched on');
	case 'key': return _('Secret key');
	case 'key_permissions': return _('Permissions of the key');
	case 'key_mode': return _('Test or live');
	case 'dns': return _('Name resolution');
	case 'connection': return _('Connection');
	case 'ca_bundle': return _('Certificates');
	case 'tls': return _('Encryption');
	case 'stripe': return _('Stripe');
	case 'clock': return _('Clock');
	case 'prices': return _('Prices at Stripe');
	case 'webhook_endpoint': return _('Webhook');
	case 'webhook_deliveries': return _('Deliveries of the webhook');
	case 'polling': return _('Regular questions to Stripe');
	case 'checkouts': return _('Open purchases');
	case 'events': return _('Events waiting');
	case 'effects': return _('Changes waiting');
	case 'payments': return _('Last payments');
	case 'ledger': return _('Ledger');
	case 'storage': return _('Storage');
	case 'state_directory': return _('Folder of the service');
	case 'settings_helper': return _('Access to the configuration');
	case 'hotplug': return _('Scripts on unlocking');
	default: return id;
	}
}

function wordOf(kind) {
	switch (kind) {
	case 'good': return _('In order');
	case 'info': return _('Note');
	case 'warning': return _('Attention');
	default: return _('Fault');
	}
}

return baseclass.extend({
	Doctor: class {
		constructor(view) {
			this.view = view;
			this.checks = null;
			this.part = new page.Part('div');
		}

		async look() {
			this.checks = await payments.check();
			this.when = new Date().toISOString();
		}

		draw() {
			const { busy, failed } = this.view.state;

			this.part.draw([ this.checks, this.when, busy, failed.check ], () => [ setup.box('sp-doctor', _('Diagnostics'), this.summary(),
				_('Everything that payments depend on, looked at one by one.'), [
					this.view.failure('check'),
					this.checks ? this.list() : (busy == 'check' ? E('p', { 'class': 'spinning' }, [ _('Checking…') ]) : ''),
					E('div', { 'class': 'sp-sync' }, [
						E('span', { 'class': 'sp-small', 'role': 'status' }, [ this.when
							? _('Checked: %s').format(format.dateTime(this.when)) : '' ]),
						this.view.button('check', '', _('Check again'), _('Checking…'), () => this.look())
					])
				]) ]);
		}

		summary() {
			if (!this.checks)
				return null;

			const faults = this.checks.filter(check => kindOf(check) == 'bad').length;
			const cautions = this.checks.filter(check => kindOf(check) == 'warning').length;

			if (faults)
				return [ _('Faults: %d').format(faults), 'bad' ];

			return cautions ? [ _('Points of attention: %d').format(cautions), 'warning' ]
				: [ _('All in order'), 'good' ];
		}

		list() {
			const sorted = [ ...this.checks ].sort((a, b) => RANK[kindOf(a)] - RANK[kindOf(b)]);
			const some = wanted => sorted.filter(check => (kindOf(check) == 'good') == wanted);
			const lines = checks => E('ul', { 'class': 'sp-checks' }, checks.map(check => this.line(check)));

			/* What is in order is there to be looked up, not to be read. */
			return E('div', {}, [
				some(false).length ? lines(some(false)) : '',
				some(true).length ? E('details', { 'class': 'sp-figures sp-well', 'open': some(false).length ? null : '' }, [
					E('summary', {}, [ _('In order: %d').format(some(true).length) ]),
					lines(some(true))
				]) : ''
			]);
		}

		line(check) {
			const kind = kindOf(check);

			return E('li', { 'class': kind, 'data-check': check.id }, [
				E('span', { 'class': 'sp-mark', 'role': 'img', 'aria-label': wordOf(kind) }),
				E('div', {}, [
					E('strong', {}, [ titleOf(check.id) ]),
					E('span', {}, [ check.detail ]),
					check.hint ? E('p', { 'class': 'sp-hint' }, [ check.hint ]) : ''
				])
			]);
		}
	}
});
