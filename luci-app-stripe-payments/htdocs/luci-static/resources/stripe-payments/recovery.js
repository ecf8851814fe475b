'use strict';
'require baseclass';
'require stripe-payments.rpc as payments';
'require stripe-payments.format as format';
'require stripe-payments.page as page';
'require stripe-payments.seller as seller';

/*
 * The seller of a router in hub mode, and the code that moves what was bought to
 * another router: to be kept while this one works, and entered on the next one.
 */
function showCode() {
	const code = E('p', { 'class': 'sp-due', 'data-recovery': 'code' });

	return new page.Dialog({
		title: _('Recovery code'),
		nodes: [
			E('p', {}, [ _('If this router breaks, the code moves what you bought to a new one. It works once, for anyone who has it: keep it in a safe place, not on this router.') ]),
			E('p', {}, [ _('A new code replaces the one before.') ]),
			code
		],
		action: _('Show a code'),
		wait: _('Contacting the seller…'),
		run: async () => {
			code.textContent = await payments.recoveryCode();

			return false;
		}
	}).open();
}

function enterCode(done) {
	const field = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'id': 'sp-recovery-code', 'autocomplete': 'off',
		'spellcheck': 'false', 'placeholder': 'ABCDE-FGHJK-…' });
	const dialog = new page.Dialog({
		title: _('Enter a recovery code'),
		nodes: [
			E('p', {}, [ _('What was bought on the router that the code is from moves to this one, and locks there.') ]),
			E('div', { 'class': 'sp-fields' }, [ E('label', { 'for': 'sp-recovery-code' }, [ _('Recovery code') ]), field ])
		],
		action: _('Move to this router'),
		wait: _('Contacting the seller…'),
		ready: false,
		run: () => payments.recover(field.value.trim()),
		done
	}).open();

	field.addEventListener('input', () => dialog.ready(field.value.trim() != ''));
	field.addEventListener('keydown', event => (event.key == 'Enter' && field.value.trim() != '') && dialog.go());
}

/** The seller's box; `bought`: whether anything on this router was, undefined where that is not known. */
function render(status, bought, off, done) {
	const button = (key, label, click) => E('button', {
		'class': 'btn cbi-button',
		'data-focus': key,
		'data-action': key,
		'disabled': off ? '' : null,
		'click': click
	}, [ label ]);

	return E('section', { 'class': 'sp-box', 'aria-labelledby': 'sp-seller' }, [
		E('header', {}, [ E('h3', { 'id': 'sp-seller' }, [ status.seller.name ? _('Seller: %s').format(status.seller.name) : _('Seller') ]) ]),
		E('p', { 'class': 'sp-quiet' }, [
			status.seller.last_contact ? _('Last contact: %s.').format(format.dateTime(status.seller.last_contact)) : _('No contact yet.'), ' ',
			_('Prices, payments and refunds are handled there; no keys are stored on this router.')
		]),
		E('p', {}, [ (bought ?? true)
			? _('If this router breaks, a recovery code moves what you bought to a new one. Get it while this router works.')
			: _('Does this router replace another one? Its recovery code moves what was bought there to this router.') ]),
		E('div', { 'class': 'sp-actions' }, [
			(bought ?? true) ? button('recovery-code', _('Recovery code…'), showCode) : '',
			bought ? '' : button('recover', _('Enter a recovery code…'), () => enterCode(done)),
			(bought === undefined) ? '' : E('a', { 'class': 'btn cbi-button', 'href': L.url('admin/payments/settings') }, [ _('Diagnostics') ])
		])
	]);
}

return baseclass.extend({ render });
