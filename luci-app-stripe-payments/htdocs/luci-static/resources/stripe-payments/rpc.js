'use strict';
'require baseclass';
'require poll';
'require rpc';
'require session';

/*
 * The only place of the application that talks to the router: the bus object
 * `stripe-payments`, and the HTTP session that the documented API needs.
 *
 * Calls are declared without `expect` on purpose. The service answers a refusal
 * with a body ({ error: { code, message, hint, user_hint } }) beside the ubus status;
 * rpc.declare hands over the body where there is one and the bare status where
 * there is none. `expect` would turn both into an empty, successful answer.
 */

const OBJECT = 'stripe-payments';

const happens = (name, options) => new Promise(resolve => document.addEventListener(name, resolve, options));

/* LuCI of 24.10 says that it has set itself up by its polls alone. */
const isLoaded = () => L.loaded || poll.tick != null;

/*
 * LuCI finds out where the bus is answered, then, once in a tab, what the system can do, and shows no page before.
 * It must not wait for the daemon with that: our calls go into the request after that one.
 */
async function reach() {
	const parsed = document.readyState == 'loading' ? happens('DOMContentLoaded') : null;
	const address = await L.probeRPCBaseURL?.();

	if (!address)
		return isLoaded() || happens('luci-loaded', { once: true });

	rpc.setBaseURL(address);

	if (isLoaded() || session.getLocalData('features') != null)
		return;

	await Promise.all([ parsed, L.require('ui'), L.require('form') ]);
	await new Promise(resolve => window.requestAnimationFrame(() => window.setTimeout(resolve, 0)));
}

let reached = null;

const reachable = () => reached ??= reach();

/*
 * What the page's template has requested before any module was there, as { calls: [ object, method, parameters ],
 * reply }. Each answer is used once; what is refused is called again, for LuCI to find out why.
 */
const firstReply = L.stripePayments?.reply.then(reply => reply.json());
const firstCalls = new Map(L.stripePayments?.calls.map((call, id) => [ keyOf(...call), id ]));

firstReply?.catch(() => {});

function keyOf(object, method, params) {
	return JSON.stringify([ object, method, ...Object.entries(params).filter(([ , value ]) => value !== undefined).sort() ]);
}

async function firstAnswer(object, method, params) {
	const key = keyOf(object, method, params);
	const id = firstCalls.get(key);

	if (id == null)
		return;

	firstCalls.delete(key);

	try {
		const { result } = (await firstReply).find(answer => answer.id === id);

		return (result.length > 1) ? result[1] : result[0];
	}
	catch (error) {
		if (error.name == 'TimeoutError')
			throw error;
	}
}

/* As rpc.declare(), for calls that need not wait for LuCI. */
function declare(options) {
	const call = rpc.declare(options);

	return async (...args) => {
		const params = Object.fromEntries((options.params ?? []).map((name, i) => [ name, args[i] ]));
		const known = await firstAnswer(options.object, options.method, params);

		if (known !== undefined)
			return known;

		await reachable();
		return call(...args);
	};
}

const callStatus = declare({
	object: OBJECT,
	method: 'status',
	params: [ 'locale' ]
});

/* For a page that can be drawn without: a batch is answered when all of it is. */
const callStatusAlone = declare({
	object: OBJECT,
	method: 'status',
	params: [ 'locale' ],
	nobatch: true
});

const callCatalog = declare({
	object: OBJECT,
	method: 'catalog',
	params: [ 'locale' ]
});

const callFeatures = declare({
	object: OBJECT,
	method: 'features'
});

const callPaymentStatus = declare({
	object: OBJECT,
	method: 'payment_status',
	params: [ 'payment_id', 'locale' ]
});

const callSubscriptions = declare({
	object: OBJECT,
	method: 'subscriptions',
	params: [ 'locale' ]
});

const callTransactions = declare({
	object: OBJECT,
	method: 'transactions',
	params: [ 'limit', 'before', 'locale' ]
});

/* Stripe may take its time: out of LuCI's batch, or every poll would wait for it. */
const slowly = (method, ...params) => declare({
	object: OBJECT,
	method,
	params: [ ...params, 'locale' ],
	nobatch: true
});

const callCreateCheckoutSession = slowly('create_checkout_session', 'price_id', 'success_url', 'cancel_url');
const callPreviewChange = slowly('preview_change', 'subscription', 'price_id');
const callNextPayments = slowly('subscriptions', 'preview');
const callChangePlan = slowly('change_plan', 'subscription', 'price_id');
const callCancelSubscription = slowly('cancel_subscription', 'subscription', 'at_period_end');
const callResumeSubscription = slowly('resume_subscription', 'subscription');
const callPortal = slowly('portal', 'return_url');
const callSync = slowly('sync');
const callCheck = slowly('check');
const callRefund = slowly('refund', 'payment_id', 'amount', 'reason');
const callProvision = slowly('provision', 'dry_run', 'replace');
const callSetupWebhook = slowly('setup_webhook', 'url');
const callGrant = slowly('grant', 'feature', 'until', 'note');
const callRevoke = slowly('revoke', 'feature');
const callRecoveryCode = slowly('recovery_code');
const callRecover = slowly('recover', 'code');
const callSetKeys = slowly('set_keys', 'secret_key', 'webhook_secret', 'publishable_key');
const callTryKeys = slowly('set_keys', 'secret_key', 'webhook_secret', 'publishable_key', 'dry_run');

const callSessionAccess = declare({
	object: 'session',
	method: 'access',
	params: [ 'scope', 'object', 'function' ]
});

/* ubus status without a body -> our code (libubus: enum ubus_msg_status) */
const STATUS_CODES = {
	3: 'service_too_old',
	4: 'service_away',
	6: 'permission_denied',
	7: 'timeout',
	10: 'service_away'
};

/* error member of uhttpd's JSON-RPC answer -> our code */
const RPC_CODES = {
	'-32000': 'service_away',
	'-32001': 'login_required',
	'-32002': 'permission_denied',
	'-32003': 'timeout'
};

/**
 * What went wrong, in words. `code` is the service's, or one of those above, or
 * `router_unreachable`; `hint` says what to do and may be empty.
 */
class PaymentError extends Error {
	constructor(code, message, hint) {
		super(message);
		this.name = 'PaymentError';
		this.code = code;
		this.hint = hint ?? '';
	}
}

/* Sentences for what a buyer can meet; anything else keeps the service's words. */
function describe(code, message, hint) {
	switch (code) {
	case 'service_away':
	case 'starting':
		return [ _('The payment service is not running.'),
			_('It may be starting; this page retries automatically. If it does not return, restart “stripe-payments” under System → Startup.') ];
	case 'service_too_old':
		return [ _('The payment service is older than this page.'),
			_('Update the package “stripe-payments”.') ];
	case 'permission_denied':
		return [ _('You do not have permission to do this.'),
			_('Ask the administrator of this router.') ];
	case 'login_required':
		return [ _('Your login has expired.'), _('Log in again.') ];
	case 'timeout':
		return [ _('The answer took too long.'), _('Try again in a moment.') ];
	case 'nothing_charged':
		return [ _('The answer took too long.'),
			_('Nothing was charged. Try again in a moment.') ];
	case 'outcome_unknown':
		return [ _('The answer took too long.'),
			_('It may still have been completed: check this page in a moment before you try again.') ];
	case 'router_unreachable':
		return [ _('The router does not answer.'),
			_('Check your connection to the router, then try again.') ];
	case 'stripe_unreachable':
		return [ _('Stripe cannot be reached from this router.'),
			_('Check the Internet connection. What you already own stays unlocked.') ];
	case 'rate_limited':
		return [ _('Too many requests to Stripe.'), _('Wait a minute, then try again.') ];
	case 'not_configured':
		return [ _('Payments are not set up yet.'),
			_('The administrator has to enter the Stripe keys first.') ];
	case 'stripe_key_invalid':
	case 'stripe_key_permission':
		return [ _('Stripe does not accept the key of this router.'),
			_('The administrator has to check the Stripe keys.') ];
	case 'disabled':
		return [ _('Payments are disabled on this router.'),
			_('What you already own stays unlocked.') ];
	case 'price_unavailable':
	case 'unknown_price':
		return [ _('This price is currently not for sale.'),
			_('Choose another one, or ask the administrator.') ];
	default:
		return [ message || _('Something went wrong.'), hint || _('Try again in a moment.') ];
	}
}

function failure(code, message, hint) {
	return new PaymentError(code, ...describe(code, message, hint));
}

function failureOf(exception) {
	/* LuCI has found out that the session is over, and says so itself. */
	if (exception.name == 'SessionError')
		return failure('login_required');

	const code = /error (-\d+)/.exec(exception.message)?.[1];

	if (code != null)
		return failure(RPC_CODES[code] ?? 'internal_error');

	return failure(/timed out/.test(exception.message) ? 'timeout' : 'router_unreachable');
}

/* An answer of the bus -> its table; a refusal of any kind -> PaymentError */
function answer(reply) {
	return reply.catch(exception => {
		throw failureOf(exception);
	}).then(table => {
		if (typeof(table) == 'number' && table != 0)
			throw failure(STATUS_CODES[table] ?? 'internal_error');

		if (table?.error?.code != null)
			throw failure(table.error.code, table.error.message, table.error.user_hint ?? table.error.hint);

		return L.isObject(table) ? table : {};
	});
}

/* What may be done although the answer was lost must not be called "not done". */
function outcome(reply) {
	return answer(reply).catch(error => {
		throw [ 'timeout', 'router_unreachable' ].includes(error.code) ? failure('outcome_unknown') : error;
	});
}

/* A page is about to follow this address: a scheme like javascript: must not get
 * that far, whatever sent it. */
function followable(address) {
	if (!/^https?:\/\//.test(address ?? ''))
		throw failure('internal_error');

	return address;
}

/* LuCI's language as the daemon and Stripe know it: two letters */
function language() {
	return (document.documentElement.lang || 'en').split(/[-_]/)[0].toLowerCase();
}

const HTTP_SESSION = 'stripe-payments.http-session';
const rights = {};

/* Whether the login may call `method`: asked once, unless asking failed. */
function may(method) {
	rights[method] ??= callSessionAccess('ubus', OBJECT, method).then(reply => reply?.access === true, () => {
		delete rights[method];
		return false;
	});

	return Promise.resolve(rights[method]);
}

return baseclass.extend({
	PaymentError,

	language,

	/** Resolves when LuCI has set itself up: it takes forms and tabs that are in the page by then for its own. */
	async loaded() {
		return isLoaded() || happens('luci-loaded', { once: true });
	},

	/** Resolves when calls can be made, which is before LuCI has set itself up. */
	reachable,

	/** Resolves to version, mode, stripe (what is known of Stripe), …; `alone`: in a request of its own. */
	status(alone) {
		return answer((alone ? callStatusAlone : callStatus)(language()));
	},

	/** Resolves to { plans, products, features }, worded in LuCI's language. */
	catalog() {
		return answer(callCatalog(language()));
	},

	/** Resolves to { NAME: { unlocked, source, plan, until, reason } }. */
	features() {
		return answer(callFeatures()).then(reply => reply.features ?? {});
	},

	/** Resolves to { status, amount, currency, payment_date, … }. */
	paymentStatus(id) {
		return answer(callPaymentStatus(id, language()));
	},

	/** Resolves to { session_id, checkout_url }, where the buyer is to go. */
	createCheckoutSession(price, successUrl, cancelUrl) {
		return answer(callCreateCheckoutSession(price, successUrl, cancelUrl, language())).then(reply => {
			followable(reply.checkout_url);
			return reply;
		}).catch(error => {
			throw (error.code == 'timeout') ? failure('nothing_charged') : error;
		});
	},

	/** Resolves to [ { id, plan, status, price, current_period_end, … } ], running and ended ones. */
	subscriptions() {
		return answer(callSubscriptions(language())).then(reply => reply.subscriptions ?? []);
	},

	/** Resolves to the next payment of each subscription by its id, as Stripe previews it; null where there is none. */
	nextPayments() {
		return answer(callNextPayments(true, language())).then(reply =>
			Object.fromEntries((reply.subscriptions ?? []).map(subscription => [ subscription.id, subscription.next_payment ?? null ])));
	},

	/** Resolves to { transactions, next }, newest first; `next` as `before` continues. */
	transactions(limit, before) {
		return answer(callTransactions(limit, before ?? undefined, language()))
			.then(reply => ({ transactions: reply.transactions ?? [], next: reply.next ?? null }));
	},

	/** Resolves to { amount_due, currency, … }: what changing to a price would cost now. */
	previewChange(subscription, price) {
		return answer(callPreviewChange(subscription, price, language()));
	},

	/** Resolves to the subscription as it is then. */
	changePlan(subscription, price) {
		return outcome(callChangePlan(subscription, price, language()));
	},

	cancelSubscription(subscription, atPeriodEnd) {
		return outcome(callCancelSubscription(subscription, atPeriodEnd, language()));
	},

	resumeSubscription(subscription) {
		return outcome(callResumeSubscription(subscription, language()));
	},

	/** Resolves to the address of Stripe's page with invoices and ways to pay. */
	portal(returnUrl) {
		return answer(callPortal(returnUrl, language())).then(reply => followable(reply.url));
	},

	/** Has the router ask Stripe now; resolves to { changed, last_sync }. */
	sync() {
		return answer(callSync(language()));
	},

	/** Resolves to [ { id, ok, severity, title, detail, hint } ]. */
	check() {
		return answer(callCheck(language())).then(reply => reply.checks ?? []);
	},

	/** `amount` in minor units, all that is left without one; resolves to the refund. */
	refund(payment, amount, reason) {
		return outcome(callRefund(payment, amount ?? undefined, reason || undefined, language()));
	},

	/** Products and prices at Stripe: what is missing or differs; nothing is made. */
	inspect() {
		return answer(callProvision(true, false, language()));
	},

	/** Makes what is missing at Stripe; with `replace` also new prices for those that differ. */
	provision(replace) {
		return outcome(callProvision(false, replace === true, language()));
	},

	/** Resolves to { id, url, action, detail, … }; the secret stays in the router. */
	setupWebhook(url) {
		return outcome(callSetupWebhook(url, language()));
	},

	/** Unlocks a feature by hand, forever or until a time (RFC 3339). */
	grant(feature, until, note) {
		return outcome(callGrant(feature, until, note, language()));
	},

	/** Takes a grant back. */
	revoke(feature) {
		return outcome(callRevoke(feature, language()));
	},

	/** Stores the keys that are given; resolves to { mode }. */
	setKeys({ secret_key, webhook_secret, publishable_key }) {
		return outcome(callSetKeys(secret_key, webhook_secret, publishable_key, language()));
	},

	/** Stores nothing; resolves to { mode, accepted (null: not known), other_account, locks (names of features) }. */
	tryKeys({ secret_key, webhook_secret, publishable_key }) {
		return answer(callTryKeys(secret_key, webhook_secret, publishable_key, true, language()));
	},

	/** Resolves to a code that moves what was bought to another router; hub mode. */
	recoveryCode() {
		return answer(callRecoveryCode(language())).then(reply => reply.code);
	},

	/** Moves what was bought with the router of the code to this one; hub mode. */
	recover(code) {
		return outcome(callRecover(code, language()));
	},

	/** Resolves to true where the login may buy, false else; never rejects. */
	mayBuy() {
		return may('create_checkout_session');
	},

	/** Resolves to true where the login may set payments up and refund; never rejects. */
	mayAdminister() {
		return may('set_keys');
	},

	/**
	 * Lets `/api/payments/` know who is logged in. LuCI's own cookie is bound to
	 * /cgi-bin/luci/, so it never gets there; this asks for one that is bound
	 * to /api/payments. Once a LuCI session, and only for logins that may buy.
	 */
	openHttpSession() {
		if (session.getLocalData(HTTP_SESSION))
			return Promise.resolve(true);

		return this.mayBuy().then(allowed => allowed && window.fetch('/api/payments/session', {
			method: 'POST',
			credentials: 'same-origin',
			headers: { 'Authorization': `Bearer ${rpc.getSessionID()}` }
		}).then(async response => {
			if (response.ok)
				session.setLocalData(HTTP_SESSION, true);

			/* Until it is read the browser keeps its connection to the router for it. */
			await response.text();

			return response.ok;
		}));
	}
});
