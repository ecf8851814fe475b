// The commands of /etc/init.d/stripe-payments that talk to the daemon: `ucode command.uc check|sync|set_keys`.
// Exit code: 0 done, 1 refused or something is wrong, 2 the daemon does not answer.

'use strict';

import { stdin } from 'fs';
import { connect } from 'ubus';
import { cursor } from 'uci';

const PREFIXES = {
	sk_: 'secret_key',
	rk_: 'secret_key',
	whsec_: 'webhook_secret',
	pk_: 'publishable_key'
};

const MARKS = { ok: '[ok]', info: '[--]', warning: '[ !]', error: '[!!]' };

const uci = cursor();
const configured = uci.get('stripe-payments', 'main', 'locale');
const locale = (configured in [ 'en', 'it' ]) ? configured : (uci.get('luci', 'main', 'lang') == 'it' ? 'it' : 'en');

function text(english, italian) {
	return locale == 'it' ? italian : english;
}

function fail(code, ...lines) {
	for (let line in lines)
		if (line)
			warn(`${line}\n`);
	exit(code);
}

function call(method, args) {
	// the daemon answers within 25 s
	const reply = connect(null, 30)?.call('stripe-payments', method, { locale, ...(args ?? {}) });

	if (type(reply) != 'object')
		fail(2, text(
			'The daemon does not answer. See: logread -e stripe-payments',
			'Il servizio non risponde. Vedi: logread -e stripe-payments'
		));

	if (reply.error)
		fail(1, reply.error.message, reply.error.hint);

	return reply;
}

function check() {
	let wrong = false;

	for (let entry in call('check').checks) {
		print(`${MARKS[entry.severity] ?? '[--]'} ${entry.id}: ${entry.detail}\n`);
		if (!entry.ok && entry.hint)
			print(`     ${entry.hint}\n`);
		wrong ||= entry.severity == 'error';
	}

	exit(wrong ? 1 : 0);
}

function sync() {
	const reply = call('sync');
	const changed = type(reply.changed) == 'object' ? keys(reply.changed) : reply.changed ?? [];

	print(length(changed)
		? text('Changed features: ', 'Funzioni cambiate: ') + join(', ', changed)
		: text('Nothing has changed.', 'Nessun cambiamento.'), '\n');
}

function set_keys() {
	const given = {};

	for (let line = stdin.read('line'); length(line); line = stdin.read('line')) {
		const value = trim(line);

		if (value == '')
			continue;

		const prefix = filter(keys(PREFIXES), (known) => index(value, known) == 0)[0];

		if (!prefix)
			fail(1, text(
				'A key begins with sk_, rk_, whsec_ or pk_. Nothing was stored.',
				'Una chiave inizia con sk_, rk_, whsec_ o pk_. Non è stato salvato nulla.'
			));
		given[PREFIXES[prefix]] = value;
	}

	if (!length(given))
		fail(1, text('No key was given.', 'Non è stata data alcuna chiave.'));

	print(text('Stored. Mode: ', 'Salvato. Modalità: '), call('set_keys', given).mode, '\n');
}

({ check, sync, set_keys })[ARGV[0]]?.() ?? null;
