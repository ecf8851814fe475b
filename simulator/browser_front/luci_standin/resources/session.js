'use strict';
'require baseclass';

/*
 * LuCI.session: the login session's id and token, and what pages remember for its time.
 */
return baseclass.extend({
	getID() {
		return L.env.sessionid ?? '0'.repeat(32);
	},

	getToken() {
		return L.env.token ?? null;
	},

	store() {
		try {
			const stored = JSON.parse(window.sessionStorage.getItem('luci-session-store')) ?? {};

			return { [this.getID()]: stored[this.getID()] ?? {} };
		}
		catch {
			return { [this.getID()]: {} };
		}
	},

	getLocalData(key) {
		const data = this.store()[this.getID()];

		return (key != null) ? (data[key] ?? null) : data;
	},

	setLocalData(key, value) {
		const store = this.store();

		if (value != null)
			store[this.getID()][key] = value;
		else
			delete store[this.getID()][key];

		window.sessionStorage.setItem('luci-session-store', JSON.stringify(store));
		return true;
	}
});
