{%
// Carries HTTP requests from uhttpd to the daemon's bus object `stripe-payments.http`, and its replies back. It
// decides nothing. By itself it answers only requests that the bus cannot carry (413, 400), and those that the daemon
// does not answer (503) or not with an HTTP reply (502). uhttpd runs the top level once, then `handle_request` in a
// process of its own for each request.

'use strict';

import { open, readfile, stdin } from 'fs';
import { connect } from 'ubus';

// From the package ucode-mod-socket, which OpenWrt has from 24.10.1 on. An `import` that fails would end uhttpd, and
// LuCI with it. Without the module a slow client is waited for as long as uhttpd lets a script run (`check` says so).
let poll = null;

try {
	poll = require('socket').poll;
} catch (e) {
	warn('stripe-payments: ucode-mod-socket is missing: slow clients are not limited\n');
}

const MAX_BODY = 512 * 1024;

// Seconds. uhttpd runs few scripts at once, and one that waits for a slow client keeps LuCI's pages waiting. All
// three together are less than uhttpd's own limit, after which it would answer with a page that says nothing.
const BODY_TIMEOUT = 5;
const TURN_TIMEOUT = 5;
const CALL_TIMEOUT = 28;

// Bytes of one uhttpd.recv(): it reads again, and waits, where it got as much as BUFSIZ (1024 in musl).
const PIECE = 1024;

// ubusd drops what is more than 1 MiB on its way to one process, and the sender waits in vain. So long requests are
// carried one at a time; of the others there are at most 35, the script slots of both servers.
const LONG_REQUEST = 12 * 1024;
const TURN = '/var/run/stripe-payments-gateway.lock';

// About the connection, or what only the gateway may say. `URL` is uhttpd's own addition.
const NOT_FORWARDED = [ 'URL', 'x-remote-addr', 'connection', 'transfer-encoding', 'content-length', 'expect' ];
const NOT_RETURNED = [ 'content-length', 'transfer-encoding', 'connection' ];

const AWAY_PAGE = '/usr/share/stripe-payments/away.html';

let ascii = '';

for (let byte = 1; byte < 0x80; byte++)
	ascii += chr(byte);

function milliseconds() {
	const now = clock(true);

	return now[0] * 1000 + now[1] / 1000000;
}

// Everything the client sends: `body` is null beyond the cap, `complete` false if not all of it came in time. What is
// not read would be taken for the next request. Where there is nothing to read it is not waited for: to a request that
// had to queue (uhttpd's max_requests) uhttpd never says that its empty body has ended.
function receive(env) {
	let chunks = [], size = 0;
	let complete = !(+env.CONTENT_LENGTH > 0) && !env.headers['transfer-encoding'];

	const deadline = milliseconds() + BODY_TIMEOUT * 1000;

	while (!complete) {
		const left = deadline - milliseconds();

		// not ucode's uloop: in this fork of uhttpd it would also handle what uhttpd's other clients have sent
		if (left <= 0 || (poll && !poll(left, stdin)?.[0]?.[1]))
			break;

		const chunk = uhttpd.recv(PIECE);

		complete = !length(chunk);
		size += length(chunk);
		if (size > MAX_BODY)
			chunks = [];
		else if (!complete)
			push(chunks, chunk);
	}

	return { body: size <= MAX_BODY ? join('', chunks) : null, complete };
}

// UTF-8 as RFC 3629 has it (no overlong forms, no surrogates) and without NUL, at which a bus string would end.
function is_text(bytes) {
	if (index(bytes, '\0') >= 0)
		return false;

	const size = length(bytes);
	let i = size - length(ltrim(bytes, ascii));   // nearly always the end

	while (i < size) {
		const lead = ord(bytes, i++);

		if (lead < 0x80)
			continue;

		const more = (lead >= 0xc2 && lead <= 0xdf) ? 1
			: (lead >= 0xe0 && lead <= 0xef) ? 2
			: (lead >= 0xf0 && lead <= 0xf4) ? 3 : 0;

		if (!more || i + more > size)
			return false;

		const next = ord(bytes, i);

		if ((lead == 0xe0 && next < 0xa0) || (lead == 0xed && next > 0x9f) ||
		    (lead == 0xf0 && next < 0x90) || (lead == 0xf4 && next > 0x8f))
			return false;

		for (let end = i + more; i < end; i++)
			if ((ord(bytes, i) & 0xc0) != 0x80)
				return false;
	}

	return true;
}

function forwarded_headers(env) {
	const headers = {};

	for (let name, value in env.headers)
		if (!(name in NOT_FORWARDED) && index(name, 'x-forwarded-') != 0 && is_text(name) && is_text(value))
			headers[name] = value;

	headers['x-remote-addr'] = env.REMOTE_ADDR ?? '';
	if (env.HTTPS == 'on')
		headers['x-forwarded-proto'] = 'https';

	return headers;
}

// No Content-Length: uhttpd sends chunks. And a status line without a reason phrase would become `200 OK`.
function respond(status, reason, headers, body) {
	uhttpd.send(`Status: ${status} ${reason}\r\n`);
	for (let name, value in headers)
		uhttpd.send(`${name}: ${value}\r\n`);
	uhttpd.send('\r\n', body);
}

function refuse(status, reason, code, message, headers) {
	respond(status, reason, {
		'Content-Type': 'application/json; charset=utf-8',
		'Cache-Control': 'no-store',
		...(headers ?? {})
	}, sprintf('%J', { error: { code, message } }));
}

function service_away(path) {
	if (match(path, /^\/payment-(success|cancel)(\/|$)/))
		respond(503, 'Service Unavailable', {
			'Content-Type': 'text/html; charset=utf-8',
			'Cache-Control': 'no-store',
			'Retry-After': '5'
		}, readfile(AWAY_PAGE) ?? 'The payment service is starting.');
	else
		refuse(503, 'Service Unavailable', 'service_unavailable',
			'The payment service is not running. Try again soon.', { 'Retry-After': '5' });
}

function carry_back(reply) {
	const status = +reply.status;
	const headers = {};

	if (!(status >= 200 && status <= 599))
		return refuse(502, 'Bad Gateway', 'bad_gateway', 'The payment service gave no valid answer.');

	for (let name, value in reply.headers)
		if (!(lc(name) in NOT_RETURNED) && match(name, /^[A-Za-z0-9-]+$/))
			headers[name] = replace(`${value}`, /[\r\n]/g, ' ');

	respond(status, replace(reply.reason || 'Unnamed', /[\r\n]/g, ' '), headers, reply.body ?? '');
}

// Whether the lock was free in time.
function take(lock) {
	for (let waited = 0; !lock.lock('xn'); waited += 20) {
		if (waited >= TURN_TIMEOUT * 1000)
			return false;
		sleep(20);
	}

	return true;
}

global.handle_request = function(env) {
	const received = receive(env);
	const body = received.body;
	const target = split(env.REQUEST_URI, '?', 2);
	const path = target[0], query = target[1] ?? '';

	// The client went away in the middle of it, or is too slow. Without an answer uhttpd closes the connection; with
	// one it would take the rest of the body for the next request.
	if (!received.complete || (body != null && env.CONTENT_LENGTH && length(body) < +env.CONTENT_LENGTH))
		return;

	if (body == null)
		return refuse(413, 'Payload Too Large', 'body_too_large', 'The body is longer than 512 KiB.');

	if (!is_text(body))
		return refuse(400, 'Bad Request', 'invalid_json', 'The body is not UTF-8 text.');

	if (!is_text(path) || !is_text(query))
		return refuse(400, 'Bad Request', 'invalid_argument', 'The address is not UTF-8 text.');

	const headers = forwarded_headers(env);
	const size = length(body) + length(env.REQUEST_URI) + length(sprintf('%J', headers));
	const turn = size > LONG_REQUEST ? open(TURN, 'w', 0600) : null;

	if (turn && !take(turn))
		return service_away(path);

	const reply = connect(null, CALL_TIMEOUT)?.call('stripe-payments.http', 'request', {
		method: env.REQUEST_METHOD,
		path,
		query,
		headers,
		body
	});

	turn?.close();

	if (type(reply) == 'object')
		carry_back(reply);
	else
		service_away(path);
};
%}
