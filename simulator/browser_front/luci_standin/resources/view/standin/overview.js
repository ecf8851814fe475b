'use strict';
'require view';
'require dom';
'require poll';
'require rpc';

/*
 * The status overview as OpenWrt's LuCI builds it: a box for every module that
 * lies in view/status/include, in the order of their names.
 */
const FOLDER = '/www/luci-static/resources/view/status/include';

const callList = rpc.declare({ object: 'file', method: 'list', params: [ 'path' ], expect: { entries: [] } });

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load() {
		return callList(FOLDER).then(entries => Promise.all(entries
			.filter(entry => entry.type == 'file' && entry.name.endsWith('.js'))
			.map(entry => entry.name.replace(/\.js$/, '')).sort()
			.map(name => L.require(`view.status.include.${name}`))));
	},

	render(includes) {
		const boxes = includes.map(include => {
			const content = E('div');

			return { include, content, box: E('div', { 'class': 'cbi-section', 'style': 'display:none' }, [
				E('div', { 'class': 'cbi-title' }, [ E('h3', {}, [ include.title ]) ]), content
			]) };
		});
		const step = () => Promise.all(boxes.map(async ({ include, content, box }) => {
			const node = include.render(await include.load().catch(() => null));

			if (node != null) {
				box.style.display = '';
				dom.content(content, node);
			}
		}));

		step();
		poll.add(step, 5);

		return E('div', {}, [ E('h2', {}, [ _('Status') ]), ...boxes.map(({ box }) => box) ]);
	}
});
