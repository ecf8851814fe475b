'use strict';
'require baseclass';
'require request';

/*
 * LuCI.rpc: JSON-RPC 2.0 calls to the bus.
 */
let sequence = 1;
let sessionID = L.env.sessionid ?? '0'.repeat(32);
let baseURL = L.url('admin/ubus');
const interceptors = [];

const kind = value => Object.prototype.toString.call(value);

/* `expect` names the member to hand out and, by its value, type and default. */
function expected(reply, expect) {
	for (const [ key, fallback ] of Object.entries(expect ?? {})) {
		const value = (key != '' && reply != null) ? reply[key] : reply;

		return (value == null || kind(value) != kind(fallback)) ? fallback : value;
	}

	return reply;
}

return baseclass.extend({
	async send(message, call, nobatch) {
		const reply = await request.post(baseURL, message, {
			timeout: (L.env.rpctimeout ?? 20) * 1000,
			nobatch,
			credentials: true
		});

		if (!reply.ok)
			L.raise('RPCError', 'RPC call to %s/%s failed with HTTP error %d: %s',
				call.object, call.method, reply.status, reply.statusText || '?');

		const answer = reply.json();

		await Promise.all(interceptors.map(intercept => intercept(answer, call)));

		if (answer?.jsonrpc != '2.0')
			L.raise('RPCError', 'RPC call to %s/%s returned invalid message frame', call.object, call.method);

		if (answer.error?.code && answer.error.message)
			L.raise('RPCError', 'RPC call to %s/%s failed with error %s: %s',
				call.object, call.method, answer.error.code, answer.error.message);

		return answer.result;
	},

	list(...objects) {
		return this.send({
			jsonrpc: '2.0',
			id: sequence++,
			method: 'list',
			params: objects.length ? objects : undefined
		}, { object: 'bus', method: 'list' });
	},

	declare(options) {
		return async (...args) => {
			const params = {};
			const names = options.params ?? [];

			names.forEach((name, i) => { params[name] = args[i]; });

			const result = await this.send({
				jsonrpc: '2.0',
				id: sequence++,
				method: 'call',
				params: [ sessionID, options.object, options.method, params ]
			}, options, options.nobatch);

			if (options.reject && result[0] !== 0)
				L.raise('RPCError', 'RPC call to %s/%s failed with ubus code %d: %s',
					options.object, options.method, result[0], this.getStatusText(result[0]));

			const value = expected((result.length > 1) ? result[1] : result[0], options.expect);

			return options.filter ? options.filter.call(this, value, params, ...args.slice(names.length)) : value;
		};
	},

	getSessionID() {
		return sessionID;
	},

	setSessionID(id) {
		sessionID = id;
	},

	getBaseURL() {
		return baseURL;
	},

	setBaseURL(url) {
		baseURL = url;
	},

	getStatusText(status) {
		return [
			_('Command OK'), _('Invalid command'), _('Invalid argument'), _('Method not found'),
			_('Resource not found'), _('No data received'), _('Permission denied'), _('Request timeout'),
			_('Not supported'), _('Unspecified error'), _('Connection lost')
		][status] ?? _('Unknown error code');
	},

	addInterceptor(intercept) {
		interceptors.push(intercept);
		return intercept;
	}
});
