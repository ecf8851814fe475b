'use strict';
'require baseclass';
'require session';

/*
 * Tabs by the pattern of the W3C: one tab stop, arrow keys move between tabs.
 * https://www.w3.org/WAI/ARIA/apg/patterns/tabs/
 */
const CHOSEN = 'stripe-payments.tab';

return baseclass.extend({
	/** @param panes [ { id, label, nodes } ]; @param changed is called with the id and the node that are shown */
	render(panes, changed) {
		const tabs = panes.map(({ id, label }) => E('button', {
			'class': 'sp-tab', 'role': 'tab', 'type': 'button', 'id': `sp-tab-${id}`, 'data-pane': id, 'aria-controls': `sp-pane-${id}`,
			'click': () => show(id),
			'keydown': event => move(id, { ArrowRight: 1, ArrowLeft: -1 }[event.key])
		}, [ label ]));
		const shown = panes.map(({ id, nodes }) => E('div', {
			'class': 'sp-pane', 'role': 'tabpanel', 'id': `sp-pane-${id}`, 'aria-labelledby': `sp-tab-${id}`
		}, nodes));

		function show(chosen) {
			tabs.forEach((tab, i) => {
				const selected = panes[i].id == chosen;

				tab.setAttribute('aria-selected', selected);
				tab.tabIndex = selected ? 0 : -1;
				shown[i].hidden = !selected;
			});
			session.setLocalData(CHOSEN, chosen);
			changed(chosen, shown[panes.findIndex(({ id }) => id == chosen)]);
		}

		function move(id, step) {
			if (!step)
				return;

			const next = tabs[(tabs.findIndex(tab => tab.getAttribute('data-pane') == id) + step + tabs.length) % tabs.length];

			show(next.getAttribute('data-pane'));
			next.focus();
		}

		const last = session.getLocalData(CHOSEN);

		show(panes.some(({ id }) => id == last) ? last : panes[0].id);

		return E('div', {}, [ E('div', { 'class': 'sp-tabs', 'role': 'tablist', 'aria-label': _('Settings') }, tabs), ...shown ]);
	},

	/** Leaves one tab: for a login that turns out to have no use for the others. */
	restrict(node, id) {
		node.querySelectorAll('[role="tab"]').forEach(tab => { tab.hidden = tab.getAttribute('data-pane') != id; });
		node.querySelector(`[data-pane="${id}"][aria-selected="false"]`)?.click();
	}
});
