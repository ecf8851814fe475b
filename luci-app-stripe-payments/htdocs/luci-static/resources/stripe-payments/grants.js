'use strict';
'require baseclass';
'require stripe-payments.rpc as payments';
'require stripe-payments.page as page';

/*
 * Unlocking a feature by hand, and taking that back: for administrators.
 */
return baseclass.extend({
	/** Asks until when and why, and unlocks once it is confirmed. */
	give(feature, title, done) {
		const until = E('input', { 'type': 'date', 'class': 'cbi-input-text', 'id': 'sp-grant-until' });
		const note = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'id': 'sp-grant-note', 'maxlength': 200 });

		new page.Dialog({
			title: _('Grant manually'),
			nodes: [
				E('p', {}, [ E('strong', {}, [ title ]) ]),
				E('div', { 'class': 'sp-fields' }, [
					E('label', { 'for': 'sp-grant-until' }, [ _('Until') ]),
					E('div', {}, [ until, E('span', { 'class': 'sp-small' }, [ _('Leave empty for no end date.') ]) ]),
					E('label', { 'for': 'sp-grant-note' }, [ _('Reason') ]),
					note
				]),
				E('p', {}, [ _('Nothing is charged. You can revoke it at any time.') ])
			],
			said: _('“%s” is unlocked.').format(title),
			action: _('Unlock'),
			wait: _('Unlocking…'),
			run: () => payments.grant(feature, until.value ? `${until.value}T23:59:59Z` : undefined, note.value.trim() || undefined),
			done
		}).open();
	},

	/** Says what ends, and takes it back once it is confirmed. */
	takeBack(feature, title, done) {
		new page.Dialog({
			title: _('Revoke manual grant'),
			nodes: [ E('p', {}, [ E('strong', {}, [ title ]) ]), E('p', {}, [ _('It locks immediately, unless it was also purchased.') ]) ],
			said: _('The manual grant of “%s” is revoked.').format(title),
			action: _('Revoke'),
			wait: _('Revoking…'),
			style: 'cbi-button-negative important',
			run: () => payments.revoke(feature),
			done
		}).open();
	}
});
