'use strict';
'require baseclass';
'require poll';
'require view';
'require stripe-payments.rpc as payments';
'require stripe-payments.seller as seller';

/*
 * What the pages have in common: asking the router again and again, saying what
 * is wrong, redrawing only what has changed, and dialogues that ask first.
 */

/* A page is shown after so many milliseconds, whether the router has answered or not. */
const PATIENCE_MS = 1500;

/* Not resolved before they are applied, or the page would jump. A page's own template has links to them already.
 * The version is that of the modules: a browser that has kept the styles of an older package does not show the
 * page with them. */
function loadStyles(...names) {
	const version = L.env.resource_version ? `?v=${L.env.resource_version}` : '';

	return Promise.all(names.map(name => new Promise(resolve => {
		const address = L.resource(`stripe-payments/${name}.css`);
		const link = document.querySelector(`link[href^="${address}"]`) ??
			document.head.appendChild(E('link', { 'rel': 'stylesheet', 'href': address + version }));

		if (link.sheet)
			return resolve();

		link.addEventListener('load', resolve);
		link.addEventListener('error', resolve);
		/* One that failed before this was listening. */
		window.addEventListener('load', resolve);
	})));
}

/** Sentences in a frame: [ sentence, what to do, links as [ address, label ] ]; kind is info, test, success, warning or error. */
function notice(kind, [ sentence, remedy, links ]) {
	return E('div', { 'class': `sp-notice ${kind}` }, [
		E('strong', {}, [ sentence ]), ' ', remedy ?? '',
		links?.length ? E('span', { 'class': 'sp-links' }, links.flatMap(([ address, label ]) => [ ' ', E('a', {
			'href': address,
			...(address.startsWith('/') ? {} : { 'target': '_blank', 'rel': 'noreferrer noopener' })
		}, [ label ]) ])) : ''
	]);
}

/** The error of an action, announced by screen readers at once. */
function failureNode(error) {
	return E('p', { 'class': 'sp-error', 'role': 'alert' }, [
		E('strong', {}, [ error.message ]), ' ', error.hint ?? ''
	]);
}

/** Why there are no settings on a managed router, and where they are. */
function managed() {
	return [ _('The payments of this router are managed by its provider.'),
		_('Settings, refunds and manual grants are not in LuCI; root has them on the shell: /etc/init.d/stripe-payments.') ];
}

/** Why there are no settings on a router in hub mode. */
function sold(status) {
	return [ _('This router buys from %s.').format(seller.name(status)),
		_('Keys, prices, refunds and the webhook are there, not on this router.') ];
}

/** Who sells, and the seller's own pages, as nodes of a line. */
function contact(status) {
	const { support_url: support, terms_url: terms, privacy_url: privacy } = status?.contact ?? {};
	const name = status?.contact?.name || status?.seller?.name;

	return [
		...(name ? [ _('Sold by %s.').format(name), ' ' ] : []),
		...[ [ support, _('Support') ], [ terms, _('Terms of service') ], [ privacy, _('Privacy policy') ] ]
			.filter(([ address ]) => /^https?:\/\//.test(address ?? ''))
			.flatMap(([ address, label ], i) => [ i ? ' · ' : '', E('a', { 'href': address, 'target': '_blank', 'rel': 'noreferrer noopener' }, [ label ]) ])
	];
}

/** What is known of Stripe: ok, unreachable, unauthorized, unconfigured or unknown. */
function stripeState(status) {
	return L.isObject(status?.stripe) ? status.stripe.status : status?.stripe;
}

/** Whether nothing can be bought or changed at the moment. */
function isOff({ trouble, status, mayBuy }) {
	return trouble != null || !mayBuy || status?.enabled === false ||
		(status?.seller ? seller.isClosed(status) : status?.mode == 'unconfigured');
}

/** The time that the router trusts, else the browser's. */
function now(status) {
	return new Date(status?.now ?? Date.now());
}

/** What a person has to know before anything else, as [ kind, [ sentence, what to do ] ]. */
function troubles({ trouble, status }) {
	if (trouble)
		return [ [ 'error', [ trouble.message, trouble.hint ] ] ];

	if (status == null)
		return [ [ 'info waiting', [ _('Loading…') ] ] ];

	const words = [];

	if (status.enabled === false)
		words.push([ 'info', [ _('Payments are disabled on this router.'), _('What you already own stays unlocked.') ] ]);
	else if (status.seller)
		words.push(...L.toArray(seller.trouble(status) && [ seller.trouble(status) ]));
	else if (status.mode == 'unconfigured')
		words.push([ 'info', [ _('Payments are not set up yet.'), _('The administrator has to enter the Stripe keys first.') ] ]);
	else if (stripeState(status) == 'unreachable')
		words.push([ 'warning', [ _('Stripe cannot be reached from this router.'), _('Check the Internet connection. What you already own stays unlocked.') ] ]);
	else if (stripeState(status) == 'unauthorized')
		words.push([ 'warning', [ _('Stripe does not accept the key of this router.'), _('The administrator has to check the Stripe keys.') ] ]);

	return words;
}

/**
 * A part of the page, redrawn only when what it shows has changed. Keeps the
 * focus, also over a time in which the focused button was disabled.
 */
class Part {
	constructor(tag, attributes) {
		this.node = E(tag, attributes);
		this.shown = null;
		this.focus = null;
	}

	draw(what, nodes) {
		const key = JSON.stringify(what);

		if (key === this.shown)
			return;

		const active = document.activeElement;

		if (active != document.body)
			this.focus = this.node.contains(active) ? active.getAttribute('data-focus') : null;

		this.shown = key;
		this.node.replaceChildren(...nodes());

		/* A field that is kept loses the focus by being moved. */
		if (this.node.contains(active))
			active.focus();
		else if (this.focus)
			this.node.querySelector(`[data-focus="${CSS.escape(this.focus)}"]:not([disabled])`)?.focus();

		if (this.node.contains(document.activeElement))
			this.focus = null;
	}
}

/* The page that is shown: there is one at a time. */
let shown = null;

/**
 * A dialogue that runs one action on confirmation. `run` resolves when it is
 * done (with false where the dialogue is to stay, for what it says then); what
 * it rejects with is said in the dialogue, which can then be tried again. Leaving it while `run` is on its way undoes nothing: how that ends is
 * then shown on the page. `said`: the sentence of success, or what makes it of run's result.
 */
class Dialog {
	constructor({ title, nodes, action, wait, style, ready, run, said, leave = _('Cancel'), done }) {
		Object.assign(this, { title, nodes, action, wait, run, said, left: leave, done });
		this.problem = E('div');
		this.leave = E('button', { 'class': 'btn cbi-button', 'click': () => this.close() }, [ leave ]);
		this.button = E('button', {
			'class': `btn cbi-button ${style ?? 'cbi-button-action important'}`,
			'disabled': (ready ?? true) ? null : '',
			'data-dialog': 'run',
			'click': () => this.go()
		}, [ action ]);
	}

	open() {
		this.opener ??= document.activeElement?.getAttribute('data-focus');

		if (!L.ui) {
			L.require('ui').then(() => this.open());
			return this;
		}

		this.node = L.ui.showModal(this.title, [
			E('div', { 'class': 'sp-dialog' }, L.toArray(this.nodes)),
			this.problem,
			E('div', { 'class': 'right' }, [ this.leave, ' ', this.button ])
		], 'cbi-modal', 'sp-modal');
		this.node.setAttribute('aria-label', this.title);
		/* LuCI's title is an h4, whatever headings the page has. */
		this.node.querySelector('h4')?.setAttribute('aria-level', '2');
		/* Its title stays in sight where the dialogue is higher than the screen. */
		(this.node.querySelector('.sp-dialog input, .sp-dialog select') ?? this.leave).focus({ preventScroll: true });

		return this;
	}

	ready(flag) {
		this.button.disabled = !flag || this.busy;
	}

	close() {
		if (this.closed)
			return;

		this.closed = true;
		this.node.removeAttribute('aria-label');
		L.ui.hideModal();

		if (this.opener)
			document.querySelector(`[data-focus="${CSS.escape(this.opener)}"]`)?.focus();
	}

	async go() {
		if (this.busy)
			return;

		this.busy = true;
		this.button.disabled = true;
		this.button.classList.add('spinning');
		this.button.textContent = this.wait;
		this.leave.textContent = _('Close');
		this.problem.replaceChildren();

		try {
			const result = await this.run();

			if (result === false) {
				/* Done, but there is more to be read: nothing is left to press. */
				this.button.remove();
				this.leave.focus();
				this.over = true;
			}
			else {
				this.close();

				if (this.said)
					shown?.say(typeof(this.said) == 'function' ? this.said(result) : this.said);
			}
		}
		catch (error) {
			if (this.closed)
				L.ui.addNotification(this.title, E('p', {}, [ `${error.message} ${error.hint ?? ''}` ]), 'error');

			this.problem.replaceChildren(failureNode(error));
		}

		this.busy = false;
		this.button.disabled = false;
		this.button.classList.remove('spinning');
		this.button.textContent = this.action;
		this.leave.textContent = this.over ? _('Close') : this.left;
		this.done?.();
	}
}

/**
 * A page: the answers to `questions()` go into the state by name, and `draw()`
 * shows the state. A failure is a state, too. Every few seconds only the status is
 * polled, and the others when its `revision` says that something has changed; nothing
 * while the tab is hidden.
 */
const Page = view.extend({
	interval: 5,

	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	/* Like a view of LuCI's, which shows itself when LuCI has set itself up; a page of ours needs nothing of that. */
	__init__() {
		this.state = { trouble: null, status: null, mayBuy: false, busy: null, failed: {}, ...this.initially?.() };
		this.styled = loadStyles('common', 'shop');
		this.asked = this.ask().then(() => this.notices && this.draw());
		this.load().then(() => this.show()).catch(error => L.error(error));
	},

	show() {
		const port = document.getElementById('view');

		port.replaceChildren(this.render());
		port.append(this.addFooter());
	},

	load() {
		return Promise.all([ this.styled,
			Promise.race([ this.asked, new Promise(resolve => window.setTimeout(resolve, PATIENCE_MS)) ]) ]);
	},

	async ask(changed = true) {
		try {
			const questions = Object.entries(this.questions()).filter(([ name ]) => changed || name == 'status');
			const answers = await Promise.all(questions.map(([ , question ]) => question()));

			questions.forEach(([ name ], i) => { this.state[name] = answers[i]; });

			/* The seller's methods are not on the bus then, whatever the login's rights. */
			if (this.state.status?.managed || this.state.status?.seller)
				this.state.mayAdminister = false;

			this.state.trouble = null;
		}
		catch (error) {
			this.state.trouble = error;
		}
	},

	refresh() {
		return this.ask().then(() => this.draw());
	},

	async poll() {
		const before = this.state.status?.revision;
		const first = !this.polled;

		this.polled = true;

		/* LuCI polls as soon as the page is drawn, from answers that are just in. */
		if (document.hidden || first)
			return;

		if (this.state.trouble || before == null)
			return this.refresh();

		await this.ask(false);

		if (this.state.trouble || this.state.status.revision == before)
			this.draw();
		else
			await this.refresh();
	},

	render() {
		this.notices = new Part('div', { 'class': 'sp-notices', 'role': 'status', 'aria-live': 'polite' });

		const page = E('div', { 'class': 'sp-page' }, [
			E('h2', { 'name': 'content' }, [ this.title() ]),
			E('div', { 'class': 'cbi-map-descr' }, [ this.description() ]),
			this.notices.node,
			...this.parts()
		]);

		shown = this;
		this.draw();
		payments.openHttpSession().catch(() => {});
		poll.add(() => this.poll(), this.interval);
		document.addEventListener('visibilitychange', () => this.poll());

		return page;
	},

	drawNotices(more) {
		const words = [
			...(this.state.done ? [ [ 'success', [ this.state.done ] ] ] : []),
			/* What an action has just said is not said again above it. */
			...troubles(this.state).filter(([ , [ sentence ] ]) =>
				!Object.values(this.state.failed).some(failed => failed.message == sentence)),
			...(this.state.trouble || !this.state.status ? [] : more ?? [])
		];

		this.notices.draw(words, () => words.map(([ kind, text ]) => notice(kind, text)));
	},

	/** Says that an action succeeded, until the next one. */
	say(sentence) {
		this.state.done = sentence;
		this.draw();
	},

	/* One action at a time: the state says so before the first answer is awaited,
	 * so that a second click finds nothing left to do. */
	async act(key, run) {
		if (this.state.busy)
			return;

		this.state.busy = key;
		this.state.failed = {};
		this.state.done = null;
		this.draw();

		try {
			await run();
		}
		catch (error) {
			this.state.failed = { [key]: { message: error.message, hint: error.hint } };
		}

		this.state.busy = null;
		this.draw();
		this.refresh();
	},

	button(key, style, label, wait, run, off) {
		const { busy } = this.state;

		return E('button', {
			'class': `btn cbi-button ${style} ${busy == key ? 'spinning' : ''}`,
			'data-focus': key,
			'disabled': (off || busy) ? '' : null,
			'click': () => this.act(key, run)
		}, [ busy == key ? wait : label ]);
	},

	failure(key) {
		return this.state.failed[key] ? failureNode(this.state.failed[key]) : '';
	}
});

return baseclass.extend({ Dialog, Page, Part, contact, failureNode, isOff, loadStyles, managed, notice, now, sold, stripeState, troubles });
