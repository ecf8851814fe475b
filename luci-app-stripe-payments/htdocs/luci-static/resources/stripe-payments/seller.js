'use strict';
'require baseclass';
'require stripe-payments.format as format';

/*
 * A router in hub mode buys from a seller, whose server (the hub) holds the keys, the
 * prices and the payments. `status.seller` says who that is, and what is wrong.
 */
function name(status) {
	return status.seller.name || _('the seller');
}

/* Problems that no later attempt ends: somebody has to do something. */
const FINAL = [ 'router_revoked', 'router_replaced', 'credential_refused', 'enrollment_closed', 'code_refused', 'code_used' ];

/** Whether it is of no use to try to buy. */
function isClosed(status) {
	return !status.seller.enrolled || FINAL.includes(status.seller.problem?.code);
}

/** What is wrong between this router and the seller, as [ kind, [ sentence, what to do ] ]; null where all is well. */
function trouble(status) {
	const { enrolled, problem, last_contact } = status.seller;

	switch (problem?.code) {
	case 'router_revoked':
		return [ 'warning', [ _('The seller has blocked this router: nothing can be bought.'),
			_('What you own stays unlocked until the end of its period. Contact %s.').format(name(status)) ] ];
	case 'router_replaced':
		return [ 'warning', [ _('Another router has replaced this one: what was bought here belongs to it now.'),
			_('To use this router again, get a new enrollment code from %s.').format(name(status)) ] ];
	case 'credential_refused':
		return [ 'warning', [ _('The seller does not recognize this router: nothing can be bought.'),
			_('Get a new enrollment code from %s.').format(name(status)) ] ];
	case 'enrollment_closed':
	case 'code_refused':
	case 'code_used':
		return [ 'warning', [ _('The seller has not accepted this router: nothing can be bought.'),
			_('Get a new enrollment code from %s.').format(name(status)) ] ];
	case 'seller_unreachable':
		return [ 'warning', [
			last_contact ? _('The seller cannot be reached; last contact: %s.').format(format.dateTime(last_contact))
				: _('The seller cannot be reached.'),
			_('Check the Internet connection. What you already own stays unlocked.') ] ];
	}

	if (problem)
		return [ 'warning', [ problem.message, problem.user_hint ] ];

	if (!enrolled)
		return [ 'info', [ _('This router is being registered with the seller.'), _('This page retries automatically.') ] ];

	return null;
}

return baseclass.extend({ isClosed, name, trouble });
