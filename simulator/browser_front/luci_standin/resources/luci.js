'use strict';

/*
 * L: the class loader, and the classes that LuCI builds in.
 */
((window, document) => {
	const env = {};
	const instances = {};

	/* Classes: extend() takes members, instances know super(). */

	/* Whose method runs as the inherited one: instance -> { member: prototype } */
	const running = new WeakMap();

	class Base {
		constructor(...args) {
			if (Object.hasOwn(Object.getPrototypeOf(this), '__init__'))
				this.__init__(...args);
			else
				this.super('__init__', args);
		}

		/* As LuCI's: from a method that is inherited itself and was not called by super() it would lead to that method again. */
		super(member, ...args) {
			const levels = running.get(this) ?? {};
			const before = levels[member];
			let holder = Object.getPrototypeOf(before ?? Object.getPrototypeOf(this));

			while (holder && !Object.hasOwn(holder, member))
				holder = Object.getPrototypeOf(holder);

			const inherited = holder?.[member] ?? null;

			if (!args.length || typeof(inherited) != 'function')
				return inherited;

			running.set(this, { ...levels, [member]: holder });

			try {
				return inherited.apply(this, Array.isArray(args[0]) ? args[0] : args);
			}
			finally {
				running.set(this, { ...running.get(this), [member]: before });
			}
		}

		static extend(members) {
			const derived = class extends this {};

			Object.assign(derived.prototype, members);
			return derived;
		}

		static singleton(members, ...args) {
			return new (this.extend(members))(...args);
		}

		static instantiate(args) {
			return new this(...args);
		}

		static isSubclass(value) {
			return typeof(value) == 'function' && value.prototype instanceof this;
		}
	}

	const dom = Base.singleton({
		elem(value) {
			return value != null && typeof(value) == 'object' && 'nodeType' in value;
		},

		parse(markup) {
			return new DOMParser().parseFromString(markup, 'text/html').body.firstChild;
		},

		matches(node, selector) {
			return this.elem(node) && (node.matches?.(selector) ?? false);
		},

		parent(node, selector) {
			return this.elem(node) ? node.closest(selector) : null;
		},

		append(node, children) {
			if (Array.isArray(children))
				/* LuCI's trap: what is null in an array is shown as such. */
				children.forEach(child => node.append(this.elem(child) ? child : document.createTextNode(`${child}`)));
			else if (typeof(children) == 'function')
				return this.append(node, children(node));
			else if (this.elem(children))
				node.append(children);
			else if (children !== null && children !== undefined)
				/* LuCI's documented trap: a bare string is markup, an array's is text. */
				node.innerHTML = `${children}`;

			return node.lastChild;
		},

		content(node, children) {
			node.replaceChildren();
			return this.append(node, children);
		},

		attr(node, key, value) {
			const attributes = (typeof(key) == 'string') ? { [key]: value } : (key ?? {});

			for (const [ name, setting ] of Object.entries(attributes)) {
				if (setting == null)
					continue;
				else if (typeof(setting) == 'function')
					node.addEventListener(name, setting);
				else
					node.setAttribute(name, (typeof(setting) == 'object') ? JSON.stringify(setting) : setting);
			}
		},

		create(what, attributes, children) {
			if (!(attributes instanceof Object) || Array.isArray(attributes) || this.elem(attributes))
				[ attributes, children ] = [ null, attributes ];

			let node;

			if (Array.isArray(what)) {
				node = document.createDocumentFragment();
				what.forEach(part => node.append(this.create(part)));
			}
			else if (this.elem(what))
				node = what;
			else if (what.startsWith('<'))
				node = this.parse(what);
			else
				node = document.createElement(what);

			this.attr(node, attributes);
			this.append(node, children);
			return node;
		}
	});

	class Response {
		constructor(reply, body, url) {
			this.ok = reply.ok;
			this.status = reply.status;
			this.statusText = reply.statusText;
			this.headers = reply.headers;
			this.url = url;
			this.body = body;
		}

		json() {
			return JSON.parse(this.body);
		}

		text() {
			return this.body;
		}
	}

	/* JSON-RPC calls made in one frame travel in one HTTP request. */
	const batch = [];

	async function flushBatch() {
		const entries = batch.splice(0);

		if (!entries.length)
			return;

		try {
			const reply = await request.request(entries[0].url,
				{ ...entries[0].options, content: entries.map(entry => entry.options.content), nobatch: true });
			const answers = reply.json();

			for (const [ i, entry ] of entries.entries()) {
				const answer = new Response(reply, JSON.stringify(answers[i]), reply.url);

				(answers[i] !== undefined) ? entry.resolve(answer) : entry.reject(new Error('No related RPC reply'));
			}
		}
		catch (error) {
			entries.forEach(entry => entry.reject(error));
		}
	}

	const request = Base.singleton({
		interceptors: [],

		expandURL(url) {
			return new URL(url, window.location.href).href;
		},

		async request(target, options = {}) {
			const url = this.expandURL(await target);
			const method = (options.method ?? 'GET').toUpperCase();
			const rpcBase = instances.rpc?.getBaseURL && this.expandURL(instances.rpc.getBaseURL());

			if (rpcBase && method == 'POST' && typeof(options.content) == 'object' && !options.nobatch &&
			    url.startsWith(rpcBase))
				return new Promise((resolve, reject) => {
					batch.push({ url, options, resolve, reject });

					if (batch.length == 1)
						requestAnimationFrame(flushBatch);
				});

			const address = new URL(url);

			Object.entries(options.query ?? {}).forEach(([ key, value ]) => address.searchParams.set(key, value));

			if (!options.cache)
				address.search += `${address.search ? '&' : '?'}${Date.now()}`;

			const isData = options.content != null && typeof(options.content) == 'object' &&
				!(options.content instanceof FormData);
			let reply;

			try {
				reply = await fetch(address, {
					method,
					headers: { ...(isData ? { 'Content-Type': 'application/json' } : {}), ...options.headers },
					body: isData ? JSON.stringify(options.content) : (options.content ?? undefined),
					signal: options.timeout ? AbortSignal.timeout(options.timeout) : undefined
				});
			}
			catch (error) {
				throw new Error(error.name == 'TimeoutError'
					? 'XHR request timed out' : 'XHR request aborted by browser');
			}

			const response = new Response(reply, await reply.text(), reply.url);

			await Promise.all(this.interceptors.map(intercept => intercept(response)));
			return response;
		},

		get(url, options) {
			return this.request(url, { method: 'GET', ...options });
		},

		post(url, content, options) {
			return this.request(url, { method: 'POST', content, ...options });
		},

		addInterceptor(intercept) {
			this.interceptors.push(intercept);
			return intercept;
		}
	});

	const view = Base.extend({
		__init__() {
			const port = document.getElementById('view');
			const ready = window.L.loaded ? Promise.resolve()
				: new Promise(resolve => document.addEventListener('luci-loaded', resolve, { once: true }));

			ready.then(() => this.load())
				.then(data => this.render(data))
				.then(nodes => {
					dom.content(port, nodes);
					dom.append(port, this.addFooter());
				})
				.catch(error => window.L.error(error));
		},

		load() {},
		render() {},
		handleSave() {},
		handleSaveApply() {},
		handleReset() {},

		addFooter() {
			if (!this.handleSave && !this.handleSaveApply && !this.handleReset)
				return E([]);

			/* A form knows for itself whether it may be changed. */
			const readonly = (document.querySelector('#view .cbi-map') || window.L.hasViewPermission()) ? null : '';
			const button = (name, label, style, mode) => this[name]
				? E('button', { 'class': `btn cbi-button ${style}`, 'disabled': readonly, 'click': instances.ui.createHandlerFn(
					this, event => this[name](event, mode)) }, [ label ]) : '';

			return E('div', { 'class': 'cbi-page-actions' }, [
				button('handleSaveApply', _('Save & Apply'), 'cbi-button-apply important', '0'), ' ',
				button('handleSave', _('Save'), 'cbi-button-save'), ' ',
				button('handleReset', _('Reset'), 'cbi-button-reset')
			]);
		}
	});

	Object.assign(instances, { baseclass: Base, dom, request, view });

	/* The directives that a class file begins with: ['require x as y', …] */
	function directives(source) {
		const found = [];
		const leading = /^(?:\s|\/\/[^\n]*\n|\/\*[^]*?\*\/)*(['"])((?:(?!\1).)*)\1\s*;?/;

		for (let rest = source, match; (match = leading.exec(rest)); rest = rest.slice(match[0].length)) {
			const required = /^require\s+(\S+)(?:\s+as\s+([a-zA-Z_]\S*))?$/.exec(match[2]);

			if (required)
				found.push({ name: required[1], as: required[2] ?? required[1].replace(/[^a-zA-Z0-9_]/g, '_') });
			else if (match[2] != 'use strict')
				break;
		}

		return found;
	}

	class LuCI {
		constructor(settings) {
			Object.assign(env, settings);

			const script = document.querySelector('script[src*="/luci.js"]').getAttribute('src');

			[ , env.base_url, env.resource_version ] = /^(.*)\/luci\.js(?:\?v=([^?]+))?$/.exec(script);
			Object.assign(this, { env, dom, Request: request, Class: Base, view, loaded: false });

			const parsed = new Promise(resolve => document.addEventListener('DOMContentLoaded', resolve));

			Promise.all([ this.require('ui'), this.require('rpc'), this.require('poll'), this.probeRPCBaseURL(),
				this.require('form'), parsed ])
				.then(([ ui, rpc, poll, address ]) => this.setUp(ui, rpc, poll, address))
				.catch(error => this.error(error));
		}

		/* What is kept in the tab is not asked for again. */
		async kept(name, ask) {
			const session = await this.require('session');
			const known = session.getLocalData(name);

			if (known != null)
				return known;

			const found = await ask();

			session.setLocalData(name, found);
			return found;
		}

		/* Whether uhttpd serves the bus itself; LuCI has a slower way of its own. */
		probeRPCBaseURL() {
			return this.probing ??= this.kept('rpcBaseURL', () => request.post(env.ubuspath,
				{ jsonrpc: '2.0', id: 'init', method: 'list' }, { nobatch: true })
				.then(reply => reply.status == 200 ? env.ubuspath : this.url('admin/ubus'), () => this.url('admin/ubus')));
		}

		probeSystemFeatures(rpc) {
			return this.kept('features', rpc.declare({ object: 'luci', method: 'getFeatures', expect: { '': {} } }));
		}

		async setUp(ui, rpc, poll, address) {
			this.Poll = poll;
			rpc.setBaseURL(address);

			/* Denied: was it this call, or has the whole session gone? */
			rpc.addInterceptor((message, call) => {
				if (message?.error?.code != -32002 || (call.object == 'session' && call.method == 'access'))
					return;

				return rpc.declare({
					object: 'session',
					method: 'access',
					params: [ 'scope', 'object', 'function' ],
					expect: { access: true }
				})('uci', 'luci', 'read').catch(() => this.sessionExpired());
			});

			request.addInterceptor(response => {
				if (response.status == 403 && response.headers.get('X-LuCI-Login-Required') == 'yes')
					this.sessionExpired();
			});

			document.addEventListener('poll-start', () =>
				ui.showIndicator('poll-status', _('Refreshing'), () => poll.active() ? poll.stop() : poll.start()));
			document.addEventListener('poll-stop', () =>
				ui.showIndicator('poll-status', _('Paused'), null, 'inactive'));

			await this.probeSystemFeatures(rpc);
			await Promise.all((env.preload ?? []).map(name => this.require(`preload.${name}`)));

			poll.start();
			this.loaded = true;
			document.dispatchEvent(new CustomEvent('luci-loaded'));
		}

		sessionExpired() {
			this.Poll.stop();
			instances.ui.showModal(_('Session expired'), [
				E('div', { 'class': 'alert-message warning' }, [
					_('A new login is required since the authentication session expired.')
				]),
				E('div', { 'class': 'right' }, [
					E('button', { 'class': 'btn primary', 'click': () => window.location.reload() }, [ _('Log in…') ])
				])
			]);
			this.raise('SessionError', 'Login session is expired');
		}

		require(name, from = []) {
			if (from.includes(name))
				throw new Error(`Circular dependency: ${[ ...from, name ].join(' > ')}`);

			instances[name] ??= this.compile(name, [ ...from, name ]);
			return Promise.resolve(instances[name]);
		}

		async compile(name, from) {
			const version = env.resource_version ? `?v=${env.resource_version}` : '';
			const url = `${env.base_url}/${name.replace(/\./g, '/')}.js${version}`;
			const reply = await request.get(url, { cache: true });

			if (!reply.ok)
				throw new Error(`HTTP error ${reply.status} while loading class file "${url}"`);

			const source = reply.text();
			const needs = directives(source);
			const given = await Promise.all(needs.map(need => this.require(need.name, from)));
			const factory = (0, eval)(`(function(window, document, L${needs.map(need => `, ${need.as}`).join('')}) {` +
				`${source}\n})\n//# sourceURL=${reply.url}`);
			const compiled = factory(window, document, this, ...given);

			if (!Base.isSubclass(compiled))
				throw new TypeError(`"${name}" factory yields invalid constructor`);

			return (this[name] = instances[name] = new compiled());
		}

		raise(type, format, ...args) {
			const error = new Error(String(format ?? '').format(...args));

			error.name = type;
			throw error;
		}

		error(error) {
			instances.ui?.addNotification?.(error.name, E('pre', {}, [ error.message ]), 'danger');
			throw error;
		}

		bind(fn, self, ...args) {
			return fn.bind(self, ...args);
		}

		path(prefix, parts) {
			const path = parts.flat(Infinity).filter(part => /^[a-zA-Z0-9_.%,;/-]+$/.test(part)).join('/');

			return `${prefix}/${path}`;
		}

		url(...parts) {
			return this.path(env.scriptname, parts);
		}

		resource(...parts) {
			return this.path(env.resource, parts);
		}

		media(...parts) {
			return this.path(env.media, parts);
		}

		location() {
			return this.path(env.scriptname, env.requestpath);
		}

		isObject(value) {
			return value != null && typeof(value) == 'object';
		}

		toArray(value) {
			if (value == null)
				return [];

			if (Array.isArray(value))
				return value;

			return (typeof(value) == 'object') ? [ value ] : String(value).trim().split(/\s+/).filter(Boolean);
		}

		resolveDefault(promise, fallback) {
			return Promise.resolve(promise).catch(() => fallback);
		}

		hasViewPermission() {
			return env.nodespec?.satisfied ? !env.nodespec.readonly : null;
		}
	}

	window.LuCI = LuCI;
})(window, document);
