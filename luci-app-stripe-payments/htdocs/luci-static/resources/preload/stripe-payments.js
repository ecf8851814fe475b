'use strict';
'require baseclass';
'require stripe-payments.rpc as payments';

/*
 * LuCI loads what lies in `preload/` on every page of a logged-in user, so
 * that the documented `fetch('/api/payments/create-checkout-session', …)` works
 * on all of them. It runs once a LuCI session, and failing it is never a page's
 * problem: only that fetch would be answered "login required". Trees derived from
 * LuCI that do not look in `preload/` are left with our own pages, each of which
 * does the same.
 */
return baseclass.extend({
	__init__() {
		payments.openHttpSession().catch(() => {});
	}
});
