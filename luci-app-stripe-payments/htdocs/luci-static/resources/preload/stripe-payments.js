'use strict';
'require baseclass';
'require stripe-payments.rpc as payments';

/*
 * LuCI loads what lies in `preload/` on every page of a logged-in user, where it
 * knows its document root: under nginx, but not under uhttpd's ucode handler. There
 * and on our own pages requests to `/api/payments` need no Authorization. It runs
 * once a LuCI session, and failing it is never a page's problem.
 */
return baseclass.extend({
	__init__() {
		payments.openHttpSession().catch(() => {});
	}
});
