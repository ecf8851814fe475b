'use strict';
'require baseclass';
'require ui';

/*
 * The theme's navigation: sections on top, pages of the section as tabs.
 */
return baseclass.extend({
	__init__() {
		ui.menu.load().then(tree => this.render(tree));
	},

	render(tree) {
		const [ mode, section, page ] = L.env.dispatchpath;
		const root = tree.children?.[mode ?? 'admin'];

		if (!root)
			return;

		const top = document.querySelector('#topmenu');

		ui.menu.getChildren(root).forEach(entry => {
			const active = entry.name == section;

			top.append(E('li', { 'class': active ? 'active' : '' }, [
				E('a', {
					'href': L.url(mode ?? 'admin', entry.name),
					'aria-current': active ? 'true' : null
				}, [ _(entry.title) ])
			]));
		});
		top.style.display = '';

		const pages = root.children?.[section] ? ui.menu.getChildren(root.children[section]) : [];

		if (!pages.length)
			return;

		const tabs = document.querySelector('#tabmenu');

		tabs.append(E('ul', { 'class': 'tabs' }, pages.map(entry => E('li', {
			'class': `tabmenu-item-${entry.name} ${entry.name == page ? 'active' : ''}`
		}, [
			E('a', {
				'href': L.url(mode, section, entry.name),
				'aria-current': entry.name == page ? 'page' : null
			}, [ _(entry.title) ])
		]))));
		tabs.style.display = '';
	}
});
