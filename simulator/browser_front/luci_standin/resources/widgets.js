'use strict';
'require baseclass';

/*
 * The fields that form.js shows. LuCI has them in ui.js.
 */
class Widget {
	constructor(options) {
		this.options = options;
		this.node = this.build(options);
	}

	mark(complaint) {
		const field = this.node.matches('input, select') ? this.node : this.node.querySelector('input, select');

		field?.classList.toggle('cbi-input-invalid', complaint != null);
		field?.setAttribute('aria-invalid', complaint != null);
		/* LuCI has a tooltip of its own, drawn from the second of these; here the browser shows the first. */
		[ 'title', 'data-tooltip' ].forEach(name => field?.setAttribute(name, complaint ?? ''));
	}
}

class Text extends Widget {
	build({ id, value, placeholder, disabled, changed }) {
		return E('input', {
			'type': 'text', 'class': 'cbi-input-text', id, 'value': value ?? '', placeholder,
			'disabled': disabled ? '' : null, 'keyup': changed, 'blur': changed
		});
	}

	getValue() {
		return this.node.value;
	}
}

class Flag extends Widget {
	/* As LuCI's: the label that names the option is not the checkbox's. */
	build({ id, value, disabled, changed }) {
		return E('div', { 'class': 'cbi-checkbox' }, [ E('input', {
			'type': 'checkbox', 'data-widget-id': id, 'checked': value == '1' ? '' : null, 'disabled': disabled ? '' : null,
			'change': changed
		}) ]);
	}

	getValue() {
		return this.node.firstChild.checked ? '1' : '0';
	}
}

class Select extends Widget {
	build({ id, value, choices, disabled, changed }) {
		return E('select', { 'class': 'cbi-input-select', id, 'disabled': disabled ? '' : null, 'change': changed },
			choices.map(([ key, label ]) => E('option', { 'value': key, 'selected': key == value ? '' : null }, [ label ])));
	}

	getValue() {
		return this.node.value;
	}
}

/* Entries that were added, and a field for one more. */
class List extends Widget {
	build({ id, value, placeholder, disabled, changed }) {
		this.items = L.toArray(value);
		this.field = E('input', {
			'type': 'text', 'class': 'cbi-input-text', id, placeholder, 'disabled': disabled ? '' : null,
			'keydown': event => event.key == 'Enter' && this.add(), 'blur': () => this.add()
		});
		this.entries = E('div');

		const node = E('div', { 'class': 'cbi-dynlist' }, [ this.entries, E('div', { 'class': 'add-item' }, [
			this.field, E('button', { 'class': 'btn cbi-button cbi-button-add', 'disabled': disabled ? '' : null, 'aria-label': _('Add'), 'click': () => this.add() }, [ '+' ])
		]) ]);

		this.changed = changed;
		this.show();
		return node;
	}

	add() {
		const text = this.field.value.trim();

		if (text)
			this.items = [ ...this.items, text ];

		this.field.value = '';
		this.show();
		this.changed();
	}

	show() {
		this.entries.replaceChildren(...this.items.map((item, i) => E('div', { 'class': 'item' }, [
			E('span', {}, [ item ]), ' ',
			E('button', { 'class': 'btn cbi-button cbi-button-remove', 'aria-label': _('Delete'), 'click': () => {
				this.items = this.items.filter((_other, at) => at != i);
				this.show();
				this.changed();
			} }, [ '×' ])
		])));
	}

	getValue() {
		return this.items;
	}
}

class Choices extends Widget {
	build({ id, value, choices, disabled, changed }) {
		const chosen = L.toArray(value);

		return E('div', { 'class': 'cbi-choices', id }, choices.map(([ key, label ]) => E('label', {}, [
			E('input', {
				'type': 'checkbox', 'value': key, 'checked': chosen.includes(key) ? '' : null,
				'disabled': disabled ? '' : null, 'change': changed
			}), ' ', label
		])));
	}

	getValue() {
		return Array.from(this.node.querySelectorAll('input:checked'), box => box.value);
	}
}

return baseclass.extend({ Text, Flag, Select, List, Choices });
