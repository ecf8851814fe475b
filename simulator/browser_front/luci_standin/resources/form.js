'use strict';
'require baseclass';
'require dom';
'require rpc';
'require uci';
'require ui';
'require widgets';

/*
 * LuCI.form: maps, sections and options over UCI, as much as the views use.
 * Ids, classes and data attributes are those that LuCI's documentation and pages
 * show, so that a test finds the same field in both.
 */
const callAccess = rpc.declare({
	object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ], expect: { access: false }
});

const same = (a, b) => JSON.stringify(a ?? null) == JSON.stringify(b ?? null);

const Element = baseclass.extend({
	__init__(title, description) {
		this.title = title ?? '';
		this.description = description ?? '';
		this.children = [];
	}
});

const Value = Element.extend({
	__init__(map, section, option, title, description) {
		Element.prototype.__init__.call(this, title, description);
		Object.assign(this, { map, section, option, deps: [], rmempty: true, optional: false, default: null, data: {}, choices: [] });
	},

	widget: widgets.Text,

	value(key, label) {
		this.choices.push([ key, label ?? key ]);
	},

	depends(option, value) {
		this.deps.push(typeof(option) == 'string' ? { [option]: value } : option);
	},

	cbid(sid) {
		return `cbid.${this.map.config}.${sid}.${this.option}`;
	},

	cfgvalue(sid) {
		return uci.get(this.map.config, sid, this.option);
	},

	textvalue(sid) {
		const value = this.cfgvalue(sid) ?? this.default;

		return value == null ? null : document.createTextNode(Array.isArray(value) ? value.join(' ') : value);
	},

	validate() {
		return true;
	},

	formvalue(sid) {
		return this.widgets?.[sid]?.getValue() ?? null;
	},

	isActive(sid) {
		return !this.frames?.[sid]?.classList.contains('hidden');
	},

	complaint(sid) {
		const value = this.formvalue(sid);
		const range = /^range\((\d+),(\d+)\)$/.exec(this.datatype ?? '');

		if (!this.rmempty && (value == null || value === ''))
			return _('Option "%s" must not be empty.').format(this.title);

		if (range && value && !(/^\d+$/.test(value) && +value >= +range[1] && +value <= +range[2]))
			return _('Expecting: value between %s and %s').format(range[1], range[2]);

		for (const one of Array.isArray(value) ? value : [ value ?? '' ]) {
			const result = this.validate(sid, one);

			if (result !== true)
				return result;
		}

		return null;
	},

	check(sid) {
		const complaint = this.isActive(sid) ? this.complaint(sid) : null;

		this.widgets[sid].mark(complaint);
		return complaint;
	},

	checkDepends(sid) {
		const met = !this.deps.length || this.deps.some(wanted => Object.entries(wanted).every(([ option, value ]) =>
			this.section.children.find(sibling => sibling.option == option)?.formvalue(sid) == value));

		this.frames[sid].classList.toggle('hidden', !met);
	},

	renderWidget(sid) {
		const widget = new this.widget({
			id: `widget.${this.cbid(sid)}`,
			value: this.cfgvalue(sid) ?? this.default,
			choices: this.choices,
			placeholder: this.placeholder,
			disabled: this.readonly ?? this.map.readonly,
			changed: () => {
				this.check(sid);
				this.section.children.forEach(sibling => sibling.frames?.[sid] && sibling.checkDepends(sid));
			}
		});

		(this.widgets ??= {})[sid] = widget;
		return widget.node;
	},

	render(sid) {
		const node = this.renderWidget(sid);

		(this.frames ??= {})[sid] = E('div', {
			'class': 'cbi-value', 'id': `cbi-${this.map.config}-${sid}-${this.option}`,
			'data-name': this.option, 'data-field': this.cbid(sid)
		}, [
			E('label', { 'class': 'cbi-value-title', 'for': `widget.${this.cbid(sid)}` }, [ this.title ]),
			E('div', { 'class': 'cbi-value-field' }, [
				E('div', { 'id': this.cbid(sid) }, [ node ]),
				this.description ? E('div', { 'class': 'cbi-value-description' }, [ this.description ]) : ''
			])
		]);

		return this.frames[sid];
	},

	async parse(sid) {
		if (!this.widgets?.[sid])
			return;

		if (!this.isActive(sid)) {
			if (!this.retain)
				this.remove(sid);

			return;
		}

		const complaint = this.check(sid);

		if (complaint)
			throw new TypeError(`${_('Option "%s" contains an invalid input value.').format(this.title)} ${complaint}`);

		const value = this.formvalue(sid);

		if (value == null || value === '' || (Array.isArray(value) && !value.length))
			this.remove(sid);
		else if (!same(value, this.cfgvalue(sid)))
			this.write(sid, value);
	},

	write(sid, value) {
		uci.set(this.map.config, sid, this.option, value);
	},

	remove(sid) {
		uci.unset(this.map.config, sid, this.option);
	}
});

const Section = Element.extend({
	__init__(map, sectiontype, title, description) {
		Element.prototype.__init__.call(this, title, description);
		Object.assign(this, { map, sectiontype, addremove: false, anonymous: false });
	},

	option(kind, name, title, description) {
		const option = new kind(this.map, this, name, title, description);

		this.children.push(option);
		return option;
	},

	cfgsections() {
		return uci.sections(this.map.config, this.sectiontype).map(section => section['.name']);
	},

	frame(...nodes) {
		return E('div', {
			'class': 'cbi-section', 'id': `cbi-${this.map.config}-${this.sectiontype}`,
			'data-tab': this.map.tabbed ? this.sectiontype : null
		}, [
			this.title ? E('h3', {}, [ this.title ]) : '',
			this.description ? E('div', { 'class': 'cbi-section-descr' }, [ this.description ]) : '',
			...nodes
		]);
	},

	fields(sid, options) {
		const node = E('div', { 'class': 'cbi-section-node', 'data-section-id': sid }, options.map(option => option.render(sid)));

		options.forEach(option => option.checkDepends(sid));
		return node;
	},

	async parse() {
		for (const sid of this.cfgsections())
			for (const option of this.children)
				await option.parse(sid);
	}
});

const NamedSection = Section.extend({
	__init__(map, sid, sectiontype, title, description) {
		Section.prototype.__init__.call(this, map, sectiontype, title, description);
		this.section = sid;
	},

	cfgsections() {
		return [ this.section ];
	},

	render() {
		return this.frame(this.fields(this.section, this.children));
	}
});

const GridSection = Section.extend({
	renderSectionAdd(style) {
		const check = () => { add.disabled = !/^[A-Za-z0-9_]+$/.test(name.value); };
		const name = E('input', { 'type': 'text', 'class': 'cbi-section-create-name', 'keyup': check, 'blur': check });
		const add = E('button', {
			'class': 'btn cbi-button cbi-button-add', 'disabled': '', 'click': () => this.renderMoreOptionsModal(uci.add(this.map.config, this.sectiontype, name.value), true)
		}, [ _('Add') ]);

		return E('div', { 'class': `cbi-section-create ${style}` }, [ E('div', {}, [ name ]), add ]);
	},

	render() {
		const columns = this.children.filter(option => !option.modalonly);

		return this.frame(E('table', { 'class': 'table cbi-section-table' }, [
			E('thead', {}, [ this.renderHeaderRows(columns) ]),
			E('tbody', {}, this.cfgsections().map(sid => this.row(sid, columns)))
		]), this.addremove ? this.renderSectionAdd('cbi-tblsection-create') : '');
	},

	renderHeaderRows(columns) {
		return E([], [ E('tr', { 'class': 'tr cbi-section-table-titles' }, [
			E('th', { 'class': 'th' }, [ _('Name') ]), ...columns.map(option => E('th', { 'class': 'th' }, [ option.title ])),
			E('th', { 'class': 'th cbi-section-actions' })
		]) ]);
	},

	row(sid, columns) {
		const button = (style, label, click) => E('button', {
			'class': `btn cbi-button ${style}`, 'disabled': this.map.readonly ? '' : null, 'click': click
		}, [ label ]);

		return E('tr', { 'class': 'tr cbi-section-table-row', 'data-section-id': sid, 'id': `cbi-${this.map.config}-${sid}` }, [
			E('td', { 'class': 'td cbi-value-field cbi-section-table-titles' }, [ sid ]),
			...columns.map(option => E('td', { 'class': 'td cbi-value-field', 'data-title': option.title, 'data-name': option.option },
				[ option.textvalue(sid) ?? E('em', {}, [ _('none') ]) ])),
			E('td', { 'class': 'td cbi-section-actions' }, [ E('div', {}, [
				button('cbi-button-edit', _('Edit'), () => this.renderMoreOptionsModal(sid)), ' ',
				this.addremove ? button('cbi-button-remove', _('Delete'), () => {
					uci.remove(this.map.config, sid);
					return this.map.save(null, true);
				}) : ''
			]) ])
		]);
	},

	/* All options of one section in a dialogue; a new section that is dismissed goes again. As in LuCI, what
	 * was entered outside of the dialogue and not saved is drawn again. */
	renderMoreOptionsModal(sid, added) {
		const dismiss = () => {
			if (added)
				uci.remove(this.map.config, sid);

			ui.hideModal();
		};
		const save = async () => {
			for (const option of this.children)
				await option.parse(sid);

			this.children.forEach(option => { delete option.widgets[sid]; });
			await this.map.staged();
			ui.hideModal();
		};

		ui.showModal(typeof(this.modaltitle) == 'function' ? this.modaltitle(sid) : sid, [
			E('div', { 'class': 'cbi-map' }, [ this.fields(sid, this.children) ]),
			E('div', { 'class': 'button-row' }, [
				E('button', { 'class': 'btn cbi-button', 'click': dismiss }, [ _('Dismiss') ]), ' ',
				E('button', { 'class': 'btn cbi-button cbi-button-positive important', 'click': () => save().catch(() => {}) }, [ _('Save') ])
			])
		], 'cbi-modal');
	},

	async parse() {}
});

const Map = Element.extend({
	__init__(config, title, description) {
		Element.prototype.__init__.call(this, title, description);
		this.config = config;
	},

	section(kind, ...args) {
		const section = new kind(this, ...args);

		this.children.push(section);
		return section;
	},

	async load() {
		const [ may ] = await Promise.all([ callAccess('uci', this.config, 'write'), uci.load(this.config) ]);

		this.readonly ??= !may;
	},

	async render() {
		await this.load();
		return this.renderContents();
	},

	renderContents() {
		this.root ??= E('div', { 'id': `cbi-${this.config}`, 'class': 'cbi-map' });
		const sections = this.children.map(section => section.render());

		dom.content(this.root, this.tabbed ? [ this.tabs(sections), E('div', { 'class': 'cbi-map-tabbed' }, sections) ] : sections);
		return this.root;
	},

	/* One section at a time; which one is kept when the form is drawn again. */
	tabs(sections) {
		const show = active => {
			this.active = active;
			sections.forEach((section, i) => section.setAttribute('data-tab-active', i == active));
			menu.childNodes.forEach((item, i) => { item.className = (i == active) ? 'cbi-tab' : 'cbi-tab-disabled'; });
		};
		const menu = E('ul', { 'class': 'cbi-tabmenu' }, this.children.map((section, i) =>
			E('li', { 'data-tab': section.sectiontype }, [ E('a', { 'href': '#', 'click': event => {
				event.preventDefault();
				show(i);
			} }, [ section.title ]) ])));

		show(this.active ?? 0);
		return menu;
	},

	async save(callback, silent) {
		try {
			for (const section of this.children)
				await section.parse();

			callback?.();
			return await this.staged();
		}
		catch (error) {
			if (!silent)
				ui.showModal(_('Save error'), [
					E('p', {}, [ _('An error occurred while saving the form:') ]),
					E('p', {}, [ E('em', {}, [ error.message ]) ]),
					E('div', { 'class': 'right' }, [ E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Dismiss') ]) ])
				]);

			throw error;
		}
	},

	async staged() {
		await uci.save();
		await this.load();
		ui.changes.init();

		return this.renderContents();
	},

	reset() {
		return this.renderContents();
	}
});

return baseclass.extend({
	Map,
	NamedSection,
	GridSection,
	Value,
	Flag: Value.extend({
		widget: widgets.Flag,

		formvalue(sid) {
			const value = Value.prototype.formvalue.call(this, sid);

			/* What is the default need not be written. */
			return (value == (this.default ?? '0') && this.rmempty) ? null : value;
		}
	}),
	ListValue: Value.extend({
		widget: widgets.Select,

		textvalue(sid) {
			const value = this.cfgvalue(sid) ?? this.default;
			const [ , label ] = this.choices.find(([ key ]) => key == value) ?? [];

			return document.createTextNode(label ?? value ?? '');
		}
	}),
	DynamicList: Value.extend({ widget: widgets.List }),
	MultiValue: Value.extend({ widget: widgets.Choices })
});
