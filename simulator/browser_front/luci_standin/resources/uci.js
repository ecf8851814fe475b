'use strict';
'require baseclass';
'require rpc';

/*
 * LuCI.uci: configurations as loaded, with the changes made here on top until
 * save() stages them at the router.
 */
const call = (method, params, expect) => rpc.declare({ object: 'uci', method, params, expect, reject: true });

const callGet = call('get', [ 'config' ], { values: {} });
const callAdd = call('add', [ 'config', 'type', 'name', 'values' ], { section: '' });
const callSet = call('set', [ 'config', 'section', 'values' ]);
const callDelete = call('delete', [ 'config', 'section', 'options' ]);
const callOrder = call('order', [ 'config', 'sections' ]);
const callChanges = rpc.declare({ object: 'uci', method: 'changes', expect: { changes: {} } });

return baseclass.extend({
	__init__() {
		this.loaded = {};
		this.values = {};
		this.forget();
	},

	forget() {
		this.state = { created: {}, changed: {}, deleted: {}, reordered: {} };
	},

	load(packages) {
		const wanted = Array.isArray(packages) ? packages : [ packages ];

		return Promise.all(wanted.map(config => {
			this.loaded[config] ??= callGet(config).then(values => { this.values[config] = values; }, error => {
				delete this.loaded[config];
				throw error;
			});

			return this.loaded[config];
		})).then(() => wanted);
	},

	unload(packages) {
		for (const config of Array.isArray(packages) ? packages : [ packages ]) {
			delete this.loaded[config];
			delete this.values[config];
			Object.values(this.state).forEach(kind => { delete kind[config]; });
		}
	},

	whole(config) {
		const all = {};

		for (const [ sid, section ] of Object.entries({ ...this.values[config], ...this.state.created[config] }))
			if (this.state.deleted[config]?.[sid] !== true)
				all[sid] = this.merged(config, sid, section);

		return all;
	},

	merged(config, sid, section) {
		const merged = { ...section, ...this.state.changed[config]?.[sid] };

		for (const option of this.state.deleted[config]?.[sid] ?? [])
			delete merged[option];

		return merged;
	},

	sections(config, type, visit) {
		const order = this.state.reordered[config] ?? [];
		const found = Object.values(this.whole(config))
			.filter(section => type == null || section['.type'] == type)
			.sort((a, b) => order.length
				? order.indexOf(a['.name']) - order.indexOf(b['.name'])
				: (a['.index'] ?? Infinity) - (b['.index'] ?? Infinity));

		if (visit)
			found.forEach(section => visit.call(this, section, section['.name']));

		return found;
	},

	get(config, sid, option) {
		const section = this.whole(config)[sid];

		return (option == null) ? section ?? null : section?.[option] ?? null;
	},

	set(config, sid, option, value) {
		if (value == null || value === '')
			return this.unset(config, sid, option);

		const section = (this.state.changed[config] ??= {})[sid] ??= {};

		section[option] = value;
		this.state.deleted[config]?.[sid]?.delete?.(option);
	},

	unset(config, sid, option) {
		delete this.state.changed[config]?.[sid]?.[option];

		if (this.values[config]?.[sid]?.[option] != null)
			((this.state.deleted[config] ??= {})[sid] ??= new Set()).add(option);
	},

	add(config, type, name) {
		const sid = name || `new${Date.now().toString(16)}`;

		(this.state.created[config] ??= {})[sid] = { '.type': type, '.name': sid, '.create': name ?? null, '.anonymous': !name };
		return sid;
	},

	remove(config, sid) {
		delete this.state.changed[config]?.[sid];

		if (this.state.created[config]?.[sid])
			delete this.state.created[config][sid];
		else
			(this.state.deleted[config] ??= {})[sid] = true;
	},

	/* `before`: whether `sid` comes before or after `target` */
	move(config, sid, target, after) {
		const order = this.sections(config).map(section => section['.name']).filter(name => name != sid);

		order.splice(order.indexOf(target) + (after ? 1 : 0), 0, sid);
		this.state.reordered[config] = order;
	},

	async save() {
		const { created, changed, deleted, reordered } = this.state;
		const configs = new Set(Object.values(this.state).flatMap(Object.keys));

		for (const config of configs) {
			for (const [ sid, section ] of Object.entries(created[config] ?? {}))
				await callAdd(config, section['.type'], section['.create'] ?? undefined, changed[config]?.[sid] ?? {});

			for (const [ sid, values ] of Object.entries(changed[config] ?? {}))
				if (!created[config]?.[sid] && Object.keys(values).length)
					await callSet(config, sid, values);

			for (const [ sid, options ] of Object.entries(deleted[config] ?? {}))
				if (options === true)
					await callDelete(config, sid);
				else if (options.size)
					await callDelete(config, sid, [ ...options ]);

			if (reordered[config])
				await callOrder(config, reordered[config]);
		}

		this.forget();
		configs.forEach(config => this.unload(config));
		await this.load([ ...configs ]);
		document.dispatchEvent(new CustomEvent('uci-loaded'));

		return [ ...configs ];
	},

	changes() {
		return callChanges();
	}
});
