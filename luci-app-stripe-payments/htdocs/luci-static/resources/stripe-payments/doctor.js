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
	case 'enabled': return _('Payments enabled');
	case 'managed': return _('Management');
	case 'key': return _('Secret key');
	case 'key_permissions': return _('Key permissions');
	case 'key_mode': return _('Mode');
	case 'dns': return _('Name resolution');
	case 'connection': return _('Connection');
	case 'seller': return _('Seller');
	case 'ca_bundle': return _('Certificates');
	case 'tls': return _('Encryption');
	case 'stripe': return _('Stripe');
	case 'clock': return _('Clock');
	case 'prices': return _('Prices at Stripe');
	case 'webhook_endpoint': return _('Webhook');
	case 'webhook_deliveries': return _('Webhook deliveries');
	case 'polling': return _('Polling');
	case 'checkouts': return _('Open purchases');
	case 'events': return _('Pending events');
	case 'effects': return _('Pending changes');
	case 'payments': return _('Recent payments');
	case 'subscriptions': return _('Subscriptions');
	case 'ledger': return _('Ledger');
	case 'storage': return _('Storage');
	case 'state_directory': return _('State directory');
	case 'settings_helper': return _('Configuration access');
	case 'gateway': return _('Payment pages');
	case 'hotplug': return _('Hotplug scripts');
	default: return id;
	}
}

/* The daemon's sentences have times in UTC, as a log does. */
function local(sentence) {
	return sentence.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, format.dateTime);
}

function wordOf(kind) {
	switch (kind) {
	case 'good': return _('OK');
	case 'info': return _('Note');
	case 'warning': return _('Warning');
	default: return _('Error');
	}
}

return baseclass.extend({
	Doctor: class {
		constructor() {
			this.checks = null;
			this.looking = null;
			this.problem = null;
			this.part = new page.Part('div');
		}

		/* Stripe is asked: no other action of the page waits for it. The last look counts. */
		async look() {
			const look = this.looking = {};

			this.problem = null;
			this.draw();

			try {
				const checks = await payments.check();

				if (look == this.looking)
					Object.assign(this, { checks, when: new Date().toISOString() });
			}
			catch (error) {
				if (look == this.looking)
					this.problem = { message: error.message, hint: error.hint };
			}

			if (look == this.looking)
				this.looking = null;

			this.draw();
		}

		draw() {
			const looking = this.looking != null;

			this.part.draw([ this.checks, this.when, looking, this.problem ], () => [ setup.box('sp-doctor', _('Diagnostics'), this.summary(),
				_('Checks everything payments depend on.'), [
					this.problem ? page.failureNode(this.problem) : '',
					this.checks ? this.list() : (looking ? E('p', { 'class': 'spinning' }, [ _('Checking…') ]) : ''),
					E('div', { 'class': 'sp-sync' }, [
						E('span', { 'class': 'sp-small', 'role': 'status' }, [ this.when
							? _('Checked: %s').format(format.dateTime(this.when)) : '' ]),
						E('button', {
							'class': `btn cbi-button ${looking ? 'spinning' : ''}`,
							'data-focus': 'check',
							'disabled': looking ? '' : null,
							'click': () => this.look()
						}, [ looking ? _('Checking…') : _('Check again') ])
					])
				]) ]);
		}

		summary() {
			if (!this.checks)
				return null;

			const faults = this.checks.filter(check => kindOf(check) == 'bad').length;
			const cautions = this.checks.filter(check => kindOf(check) == 'warning').length;

			if (faults)
				return [ _('Errors: %d').format(faults), 'bad' ];

			return cautions ? [ _('Warnings: %d').format(cautions), 'warning' ]
				: [ _('All checks passed'), 'good' ];
		}

		list() {
			const sorted = [ ...this.checks ].sort((a, b) => RANK[kindOf(a)] - RANK[kindOf(b)]);
			const some = wanted => sorted.filter(check => (kindOf(check) == 'good') == wanted);
			const lines = checks => E('ul', { 'class': 'sp-checks' }, checks.map(check => this.line(check)));

			/* What is in order is there to be looked up, not to be read. */
			return E('div', {}, [
				some(false).length ? lines(some(false)) : '',
				some(true).length ? E('details', { 'class': 'sp-figures sp-well', 'open': some(false).length ? null : '' }, [
					E('summary', {}, [ _('Checks passed: %d').format(some(true).length) ]),
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
					E('span', {}, [ local(check.detail) ]),
					check.hint ? E('p', { 'class': 'sp-hint' }, [ local(check.hint) ]) : ''
				])
			]);
		}
	}
});
