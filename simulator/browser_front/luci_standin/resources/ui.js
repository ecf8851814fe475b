'use strict';
'require baseclass';
'require dom';
'require request';
'require rpc';
'require session';

/*
 * LuCI.ui: dialogues, notifications, indicators, the menu.
 */
let overlay = null;

/* A section of the menu that leads nowhere is not offered. */
function scrub(node) {
	const children = Object.values(node.children ?? {}).map(scrub);

	if (node.action?.type == 'firstchild' &&
	    !children.some(child => child.title && child.satisfied && !child.firstchild_ineligible))
		node.satisfied = false;

	return node;
}

const menu = baseclass.singleton({
	load() {
		this.tree ??= session.getLocalData('menu');
		this.tree ??= request.get(L.url('admin/menu')).then(reply => {
			this.tree = scrub(reply.json());
			session.setLocalData('menu', this.tree);
			return this.tree;
		});

		return Promise.resolve(this.tree);
	},

	flushCache() {
		session.setLocalData('menu', null);
	},

	getChildren(node) {
		return Object.entries((node ?? this.tree).children ?? {})
			.filter(([ , child ]) => child.satisfied && child.title != null)
			.map(([ name, child ]) => Object.assign(child, { name }))
			.sort((a, b) => (a.order ?? 1000) - (b.order ?? 1000) || a.name.localeCompare(b.name));
	}
});

/* Staged changes: how many there are, and applying them. */
const changes = baseclass.singleton({
	init() {
		return rpc.declare({ object: 'uci', method: 'changes', expect: { changes: {} } })().then(found => {
			const number = Object.values(found).reduce((sum, rows) => sum + rows.length, 0);

			if (number)
				L.ui.showIndicator('uci-changes', '%s: %d'.format(_('Unsaved Changes'), number));
			else
				L.ui.hideIndicator('uci-changes');
		});
	},

	/* Polling is over: the page is loaded again, or says why not. */
	say(words, ...classes) {
		L.Poll.stop();
		L.ui.showModal(null, [ E('p', {}, [ words ]) ], 'alert-message', ...classes);
	},

	/* Until the router answers: what was applied may have cut it off for a while. */
	async confirm(token) {
		const end = Date.now() + L.env.apply_rollback * 1000;

		for (let status = 0; ![ 200, 204 ].includes(status) && Date.now() < end;) {
			await new Promise(resolve => window.setTimeout(resolve, L.env.apply_holdoff * 1000));
			status = await request.request(L.url('admin/uci/confirm'), { method: 'post', query: token })
				.then(reply => reply.status, () => 0);
		}
	},

	async apply(checked) {
		this.say(_('Applying configuration changes…'), 'notice', 'spinning');

		const reply = await request.request(L.url('admin/uci', checked ? 'apply_rollback' : 'apply_unchecked'),
			{ method: 'post', query: { sid: L.env.sessionid, token: L.env.token } });

		if (checked && reply.status == 200)
			await this.confirm(reply.json());

		if (![ 200, 204 ].includes(reply.status))
			return this.say(_('Apply request failed with status %s').format(reply.statusText), 'warning');

		this.say(_('Configuration changes applied.'), 'notice');
		window.setTimeout(() => window.location.reload(), L.env.apply_display * 1000);
	}
});

return baseclass.extend({
	menu,
	changes,

	__init__() {
		overlay = document.body.appendChild(E('div', {
			'id': 'modal_overlay',
			'tabindex': -1,
			'keydown': event => {
				if (event.key == 'Escape')
					overlay.querySelector('.right > button, .right > .btn, .button-row > .btn')?.click();
			}
		}, [ E('div', { 'class': 'modal', 'role': 'dialog', 'aria-modal': true }) ]));
	},

	showModal(title, children, ...classes) {
		const dialogue = overlay.firstElementChild;

		dialogue.className = 'modal';
		dialogue.classList.add(...classes);
		dom.content(dialogue, title != null ? E('h4', {}, [ title ]) : []);
		dom.append(dialogue, children);
		document.body.classList.add('modal-overlay-active');
		overlay.scrollTop = 0;
		overlay.focus();

		return dialogue;
	},

	hideModal() {
		document.body.classList.remove('modal-overlay-active');
		overlay.blur();
	},

	addNotification(title, children, ...classes) {
		const words = E('div', { 'style': 'flex:10' });
		const message = E('div', { 'class': 'alert-message', 'style': 'display:flex' }, [
			words,
			E('div', {}, [
				E('button', { 'class': 'btn', 'click': () => message.remove() }, [ _('Dismiss') ])
			])
		]);

		if (title != null)
			words.append(E('h4', {}, [ title ]));

		dom.append(words, children);
		message.classList.add(...classes);
		(document.querySelector('#maincontent') ?? document.body).prepend(message);

		return message;
	},

	addTimeLimitedNotification(title, children, timeout, ...classes) {
		const message = this.addNotification(title, children, ...classes);

		if (timeout > 0)
			window.setTimeout(() => message.remove(), timeout);

		return message;
	},

	showIndicator(id, label, handler, style) {
		const bar = document.querySelector('#indicators');
		let indicator = bar?.querySelector(`[data-indicator="${CSS.escape(id)}"]`);

		if (!bar)
			return false;

		indicator ??= bar.appendChild(E('span', {
			'data-indicator': id,
			'data-clickable': handler ? true : null,
			'click': handler
		}));

		indicator.textContent = label;
		indicator.setAttribute('data-style', style == 'inactive' ? 'inactive' : 'active');
		return true;
	},

	hideIndicator(id) {
		const indicator = document.querySelector(`#indicators [data-indicator="${CSS.escape(id)}"]`);

		indicator?.remove();
		return indicator != null;
	},

	createHandlerFn(context, fn, ...bound) {
		const handler = (typeof(fn) == 'string') ? context[fn] : fn;

		if (typeof(handler) != 'function')
			return null;

		return event => {
			const button = event.currentTarget;

			button.classList.add('spinning');
			button.disabled = true;
			button.blur();

			Promise.resolve(handler.call(context, ...bound, event)).finally(() => {
				button.classList.remove('spinning');
				button.disabled = false;
			});
		};
	},

	instantiateView(path) {
		return L.require(`view.${path.replace(/\//g, '.')}`).catch(error => {
			dom.content(document.querySelector('#view'), []);
			L.error(error);
		});
	}
});
