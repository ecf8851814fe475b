// The commands of /etc/init.d/stripe-payments that talk to the daemon: `ucode command.uc COMMAND [WORD...]`.
// check and sync are methods on the bus. All others are the seller's: they go through a socket that only root and the
// daemon may open (seller_socket.py), so that they work where they are not on the bus (`option managed '1'`).
// Exit code: 0 done, 1 refused or something is wrong, 2 the daemon does not answer.

'use strict';

import { stdin } from 'fs';
import { connect } from 'ubus';
import { cursor } from 'uci';

const SOCKET = '/var/run/stripe-payments/seller.sock';
const TIMEOUT = 30;   // seconds; the daemon answers within 25

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

function unanswered() {
	fail(2, text(
		'The daemon does not answer. See: logread -e stripe-payments',
		'Il servizio non risponde. Vedi: logread -e stripe-payments'
	));
}

function answer(reply) {
	if (reply.error)
		fail(1, reply.error.message, reply.error.hint);

	return reply;
}

function call(method) {
	const reply = connect(null, TIMEOUT)?.call('stripe-payments', method, { locale });

	return type(reply) == 'object' ? answer(reply) : unanswered();
}

function socket_module() {
	try {
		return require('socket');
	}
	catch (error) {
		fail(1, text(
			'The package ucode-mod-socket is missing: install it (OpenWrt has it from 24.10.1 on).',
			'Manca il pacchetto ucode-mod-socket: installalo (OpenWrt ce l\'ha dalla 24.10.1).'
		));
	}
}

// One line of JSON there, one line back; null without an answer.
function request(line) {
	const socket = socket_module();
	const connection = socket.connect({ family: socket.AF_UNIX, path: SOCKET });
	const deadline = time() + TIMEOUT;
	let response = '';

	if (!connection?.send(`${line}\n`))
		return null;

	while (substr(response, -1) != '\n' && time() < deadline) {
		if (!length(socket.poll(1000, [ connection, socket.POLLIN ])))
			continue;

		const part = connection.recv(65536);

		if (!length(part))
			return null;

		response += part;
	}

	return substr(response, -1) == '\n' ? json(response) : null;
}

function command(method, words) {
	const reply = request(sprintf('%J', { method, words, locale })) ?? unanswered();

	if (reply.status != 0 && !reply.data?.error)
		fail(1, text('The daemon refused the command.', 'Il servizio ha rifiutato il comando.'));

	return answer(reply.data);
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

// What storing the keys would break, as a sentence; null where it would break nothing.
function objection(words) {
	const trial = command('set_keys', [ ...words, 'dry_run=1' ]);

	if (trial.accepted === false)
		return text('Stripe does not accept this secret key.', 'Stripe non accetta questa chiave segreta.');

	if (trial.other_account)
		return text(
			'This key belongs to another Stripe account, which does not know what was bought here.',
			'Questa chiave è di un altro account Stripe, che non conosce ciò che è stato acquistato qui.'
		);

	if (length(trial.locks))
		return text('These features would lock: ', 'Si bloccherebbero queste funzioni: ') + join(', ', trial.locks);

	return null;
}

function set_keys() {
	const words = [];
	const force = ARGV[1] == '--force';

	if (length(ARGV) > (force ? 2 : 1))
		fail(1, text(
			'A key must not be an argument: other users of the router, and the history of the shell, see it. Run set_keys alone.',
			'Una chiave non va scritta sulla riga di comando: la vedono gli altri utenti del router e la cronologia della shell. Esegui set_keys da solo.'
		));

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
		push(words, `${PREFIXES[prefix]}=${value}`);
	}

	if (!length(words))
		fail(1, text('No key was given.', 'Non è stata data alcuna chiave.'));

	const problem = (force || !length(filter(words, (word) => index(word, 'secret_key=') == 0))) ? null : objection(words);

	if (problem)
		fail(1, problem, text(
			'Nothing was stored. To store the keys nevertheless: set_keys --force',
			'Non è stato salvato nulla. Per salvare comunque le chiavi: set_keys --force'
		));

	print(text('Stored. Mode: ', 'Salvato. Modalità: '), command('set_keys', words).mode, '\n');
}

// Prints what the method of that name answers, as `ubus call` does.
function seller(method) {
	printf('%.J\n', command(method, slice(ARGV, 1)));
}

const own = { check, sync, set_keys }[ARGV[0]];

own ? own() : seller(ARGV[0]);
