// The ubus object `stripe-payments.uci`, in rpcd, which runs as root: the only code of the payment system that writes
// as root while it serves. (The gateway in uhttpd is root's as well; it carries requests to the daemon. Its scripts of
// the installation write uhttpd's configuration.)
//
// The daemon has a user of its own, and that user must not have rpcd's `uci` object: a process that may set any option of
// any configuration is root. So it gets a few narrow verbs instead. Everything is validated before anything is
// written; bad input is INVALID_ARGUMENT and leaves the files as they were. What could not be stored is UNKNOWN_ERROR,
// and the old file stays.

'use strict';

import { cursor } from 'uci';
import {
	access, chmod, error, glob, lstat, mkdir, open, popen, readfile, readlink, realpath, rename, rmdir, stat, symlink,
	unlink, writefile
} from 'fs';
import { connect } from 'ubus';

const INVALID_ARGUMENT = 2;
const NOT_FOUND = 4;
const UNKNOWN_ERROR = 9;

const SETTINGS = 'stripe-payments';
const FEATURES = 'stripe-features';
const MAX_TEXT = 256;
const TEXT_OPTIONS = [ 'source', 'plan', 'until', 'reason' ];

// libuci merges what anybody has staged in /tmp/.uci for a configuration's name into every load and commit of it,
// whatever other folder for changes one names. What an administrator has staged is not in force and not ours to
// commit, so libuci works on these links: other names, the same files (it locks, syncs and renames the link's target).
const WORKPLACE = '/etc/.stripe-payments-uci';
const CONFIG_DIR = '/etc/config';
const CHANGES_DIR = '/var/run/stripe-payments-uci';

// libuci renames what it has written over the old file and replies OK, even where the storage was full and the new
// file is empty, or where its changes got lost in a full /tmp. So it writes to a copy, and the copy replaces the
// configuration after it was read back. Beside the configurations: /etc/config may be a mount of its own.
const COPIES_DIR = `${CONFIG_DIR}/.stripe-payments-uci`;

function reject(status) {
	// rpcd answers a handler's exit code as the ubus status
	exit(status);
}

function link_name(config) {
	return `${config}-link`;
}

function is_link_to(path, target) {
	return lstat(path)?.type == 'link' && readlink(path) == target;
}

function configuration_exists(config) {
	return !!access(`${CONFIG_DIR}/${config}`, 'f');
}

// A cursor that sees the committed configuration under its link's name; null if the file is malformed.
function open_configuration(config) {
	const link = `${WORKPLACE}/${link_name(config)}`;
	const target = `${CONFIG_DIR}/${config}`;

	mkdir(WORKPLACE, 0700);
	if (!is_link_to(link, target)) {
		unlink(link);
		symlink(target, link);
	}
	unlink(`${CHANGES_DIR}/${link_name(config)}`);   // of a call that a power cut ended

	const uci = cursor(WORKPLACE, CHANGES_DIR);

	return uci?.load(link_name(config)) ? uci : null;
}

// The sections of a configuration; null if the file is malformed.
function sections(config) {
	return configuration_exists(config) ? open_configuration(config)?.get_all(link_name(config)) : {};
}

// Why a configuration is malformed, and in which line. ucode's module keeps only "Parse error" of libuci's message.
function parse_error(config) {
	const process = popen(`uci show ${config} 2>&1 >/dev/null`);
	const message = trim(process?.read('line') ?? '');

	process?.close();

	return match(message, /Parse error.* at line [0-9]+/)?.[0] ?? '';
}

// The state can be made again, see below, so a malformed one is an empty one. The settings are their author's to
// correct: the reply says what is wrong instead, and what is unlocked can be read all the same.
function load() {
	const reply = { features: sections(FEATURES) ?? {} };
	const settings = sections(SETTINGS);

	if (settings)
		reply.settings = settings;
	else
		reply.malformed = parse_error(SETTINGS);

	return reply;
}

// Scripts with a reload trigger on the configuration hear of it, as they do of rpcd's own commits.
function announce(config) {
	connect(null, 2)?.call('service', 'event', { type: 'config.change', data: { package: config } });
}

// Whether two values of get_all() are equal; the order of options does not count.
function equal(a, b) {
	if (type(a) != 'object' || type(b) != 'object')
		return sprintf('%J', a) == sprintf('%J', b);

	return length(a) == length(b) && !length(filter(keys(a), (name) => !equal(a[name], b[name])));
}

// The changed text in the file `copy`; false if not all of it could be written.
function write_copy(copy, name, text, changes) {
	mkdir(COPIES_DIR, 0700);
	writefile(copy, text);
	if (readfile(copy) != text)
		return false;

	const uci = cursor(COPIES_DIR, CHANGES_DIR);

	if (!uci?.load(name))
		return false;
	for (let change in changes)
		change(uci, name);

	const wanted = uci.get_all(name);
	const committed = uci.commit(name);

	unlink(`${CHANGES_DIR}/${name}`);

	return committed && equal(wanted, cursor(COPIES_DIR, CHANGES_DIR)?.get_all(name));
}

// Puts the copy in the place of the configuration, unless another program has changed that meanwhile. The lock is
// that of libuci.
function replace_configuration(path, text, copy) {
	const file = open(path, 'r+');

	file?.lock('x');

	const replaced = readfile(path) == text && rename(copy, path);

	file?.close();

	return replaced;
}

// Collects changes to one configuration and writes them all, or none.
function edit(config) {
	const uci = open_configuration(config);

	// the state file is made of what the daemon knows, so one that was deleted or damaged can be made again
	if (!uci && config != FEATURES)
		reject(UNKNOWN_ERROR);

	const changes = [];

	return {
		type_of: (section) => uci?.get(link_name(config), section),

		value_of: (section, option) => uci?.get(link_name(config), section, option),

		add: (section, type) => push(changes, (copy, name) => copy.set(name, section, type)),

		// the empty text takes the option away
		set: (section, option, value) => {
			if ((uci?.get(link_name(config), section, option) ?? '') == value)
				return;
			push(changes, (copy, name) => value == ''
				? copy.delete(name, section, option)
				: copy.set(name, section, option, value));
		},

		commit: () => {
			if (uci && !length(changes))
				return;

			const name = `${config}-copy`;
			const copy = `${COPIES_DIR}/${name}`;
			const path = realpath(`${CONFIG_DIR}/${config}`) ?? `${CONFIG_DIR}/${config}`;
			const text = readfile(path);
			const mode = stat(path)?.mode ?? 0644;
			const malformed = `${WORKPLACE}/${config}.malformed`;

			let stored = write_copy(copy, name, uci ? text : '', changes) && chmod(copy, mode);

			if (stored && !uci && text != null)
				writefile(malformed, text);
			stored = stored && replace_configuration(path, text, copy);

			unlink(copy);
			rmdir(COPIES_DIR);
			if (!stored)
				reject(UNKNOWN_ERROR);
			announce(config);
		}
	};
}

function is_name(value) {
	return length(value) <= MAX_TEXT && !!match(value, /^[A-Za-z0-9_]+$/);
}

// A line of text without control characters: nothing that could end an option early in the file.
function is_text(value) {
	if (type(value) != 'string' || length(value) > MAX_TEXT)
		return false;

	for (let i = 0; i < length(value); i++)
		if (ord(value, i) < 0x20 || ord(value, i) == 0x7f)
			return false;

	return true;
}

function is_price_id(value) {
	return is_text(value) && !!match(value, /^price_[A-Za-z0-9_]+$/);
}

// The options to write for a feature, or null if `fields` is not a valid description of one.
function feature_options(fields) {
	if (type(fields) != 'object' || type(fields.unlocked) != 'bool')
		return null;

	for (let name in keys(fields))
		if (name != 'unlocked' && !(name in TEXT_OPTIONS))
			return null;

	const options = { unlocked: fields.unlocked ? '1' : '0' };

	for (let name in TEXT_OPTIONS) {
		options[name] = fields[name] ?? '';
		if (!is_text(options[name]))
			return null;
	}

	return options;
}

function store_features(features) {
	const wanted = {};

	if (type(features) != 'object')
		reject(INVALID_ARGUMENT);

	for (let name, fields in features)
		wanted[name] = (is_name(name) ? feature_options(fields) : null) ?? reject(INVALID_ARGUMENT);

	const file = edit(FEATURES);

	for (let name in keys(wanted))
		if (!((file.type_of(name) ?? 'feature') == 'feature'))
			reject(INVALID_ARGUMENT);

	for (let name, options in wanted) {
		if (file.type_of(name) == null)
			file.add(name, 'feature');
		for (let option, value in options)
			file.set(name, option, value);
	}

	file.commit();
}

function store_prices(prices) {
	if (type(prices) != 'object')
		reject(INVALID_ARGUMENT);
	if (!configuration_exists(SETTINGS))
		reject(NOT_FOUND);

	const file = edit(SETTINGS);

	for (let alias, price_id in prices)
		if (!is_name(alias) || !is_price_id(price_id) || file.type_of(alias) != 'price')
			reject(INVALID_ARGUMENT);

	for (let alias, price_id in prices)
		file.set(alias, 'price_id', price_id);

	file.commit();
}

// A used enrolment code goes, unless another one is configured by now.
function forget_hub_code(code) {
	if (!is_text(code) || code == '')
		reject(INVALID_ARGUMENT);
	if (!configuration_exists(SETTINGS))
		reject(NOT_FOUND);

	const file = edit(SETTINGS);

	if (file.value_of('main', 'hub_code') == code)
		file.set('main', 'hub_code', '');

	file.commit();
}

// -- for `check`: storage, hotplug scripts, web servers

const STATE_DIR = '/etc/stripe-payments';
const TRIAL_BYTES = 16 * 1024;
const TICKS_PER_SECOND = 100;   // USER_HZ of every architecture of OpenWrt

// 'ok', or why nothing can be stored in a folder: 'full' or 'read_only'.
function trial_write(folder) {
	const file = `${folder}/.stripe-payments-trial`;
	const text = readfile('/dev/urandom', TRIAL_BYTES);

	mkdir(folder, 0700);

	const written = writefile(file, text);
	const reason = written == null ? error() : null;
	const stored = readfile(file) == text;

	unlink(file);

	return stored ? 'ok' : reason == 'Read-only file system' ? 'read_only' : 'full';
}

// Where the file system of a path is mounted.
function mount_of(path) {
	const device = sprintf('%J', stat(path)?.dev);
	let mount = path;

	while (mount != '/') {
		const above = match(mount, /^(.*)\/[^\/]+$/)[1] || '/';

		if (sprintf('%J', stat(above)?.dev) != device)
			break;
		mount = above;
	}

	return mount;
}

function storage() {
	const folders = {};

	for (let path in [ STATE_DIR, CONFIG_DIR, '/tmp' ])
		folders[path] = { result: trial_write(path), mount: mount_of(path) };

	return folders;
}

// {pid, parent, age}: age in seconds.
function processes() {
	const now = +match(readfile('/proc/uptime'), /^[0-9]+/)[0];
	const found = [];

	for (let folder in glob('/proc/[0-9]*')) {
		// the name of a program may contain spaces and parentheses
		const fields = split(match(readfile(`${folder}/stat`) ?? '', /^.*\) (.*)$/s)?.[1] ?? '', ' ');

		if (length(fields) > 19)
			push(found, { pid: +substr(folder, 6), parent: +fields[1], age: now - int(+fields[19] / TICKS_PER_SECOND) });
	}

	return found;
}

// The hotplug scripts that run. procd starts each as `sh -c '. /lib/functions.sh; . SCRIPT'`.
function scripts() {
	const running = [];

	for (let process in processes()) {
		const command = split(readfile(`/proc/${process.pid}/cmdline`) ?? '', '\0');
		const script = command[1] == '-c' ? match(command[2], /\n\. (\/etc\/hotplug\.d\/stripe-payments\/[^\n]+)/) : null;

		if (script)
			push(running, { script: script[1], seconds: process.age });
	}

	return { running };
}

const GATEWAY = '/usr/share/stripe-payments/gateway.uc';
const UHTTPD_SCRIPTS = 3;   // uhttpd's own default

// The inodes of the sockets that listen on a TCP port, in the words of /proc/PID/fd.
function listening_sockets(port) {
	const sockets = [];

	for (let table in [ '/proc/net/tcp', '/proc/net/tcp6' ])
		for (let line in split(readfile(table) ?? '', '\n')) {
			const fields = match(line, /^ *[0-9]+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F:]+ 0A .* ([0-9]+) 1 [0-9a-f]+ /);

			if (fields && hex(fields[1]) == port)
				push(sockets, `socket:[${fields[2]}]`);
		}

	return sockets;
}

function is_held(sockets, descriptors) {
	return length(filter(glob(descriptors), (path) => readlink(path) in sockets)) > 0;
}

// The name of a process that holds one of the sockets, empty if it cannot be found.
function holder_of(sockets) {
	for (let folder in glob('/proc/[0-9]*'))
		if (is_held(sockets, `${folder}/fd/*`))
			return trim(readfile(`${folder}/comm`) ?? '');

	return '';
}

// How many scripts the instances of a service run, and how many they may: uhttpd's -n.
function slots(service) {
	const found = [];

	for (let name, instance in service?.instances) {
		const command = instance.command ?? [];
		const limit = index(command, '-n');

		if (index(command[0] ?? '', 'uhttpd') >= 0 && instance.pid)
			push(found, {
				used: length(filter(processes(), (process) => process.parent == instance.pid)),
				all: limit < 0 ? UHTTPD_SCRIPTS : +command[limit + 1]
			});
	}

	return found;
}

// Where each instance of LuCI's web server serves the bus, as it was started: uhttpd's -u, -p and -s. Of several
// addresses the first, of http before https; with -q http only redirects.
function bus_over_http(service) {
	const found = [];

	for (let name, instance in service?.instances) {
		const command = instance.command ?? [];
		const prefix = index(command, '-u');
		const plain = index(command, '-q') < 0 ? index(command, '-p') : -1;
		const address = plain < 0 ? index(command, '-s') : plain;

		if (prefix >= 0 && address >= 0)
			push(found, { address: command[address + 1], path: command[prefix + 1], secure: plain < 0 });
	}

	return found;
}

// Whether the public gateway listens where it should, and if not, which process does.
function listener(address, pid) {
	const sockets = listening_sockets(int(match(address, /[0-9]+$/)?.[0] ?? 0));
	const ours = pid && is_held(sockets, `/proc/${pid}/fd/*`);

	return { listen: address, open: !!ours, holder: ours || !length(sockets) ? '' : holder_of(sockets) };
}

function web_servers() {
	const config = readfile(`${CONFIG_DIR}/uhttpd`) ?? '';
	const settings = sections(SETTINGS)?.main ?? {};
	const services = connect(null, 2)?.call('service', 'list');
	const pid = services?.['stripe-payments']?.instances?.gateway?.pid;
	const mounts = match(config, /[ \t]ucode_prefix[ \t]+'?[^ '\n]+=[^ '\n]+/g) ?? [];
	const files = filter([ settings.cert, settings.key ], (path) => path);
	const addresses = type(settings.listen) == 'array' ? settings.listen : filter([ settings.listen ], (one) => one);

	return {
		mounts: map(
			filter(mounts, (mount) => rindex(mount[0], `=${GATEWAY}`) > 0),
			(mount) => match(mount[0], /([^ \t']+)=[^=]+$/)[1]
		),
		staged: (stat('/tmp/.uci/uhttpd')?.size ?? 0) > 0,
		certificate: !length(filter(files, (path) => !access(path, 'r'))),
		listeners: map(addresses, (address) => listener(address, pid)),
		bus: bus_over_http(services?.uhttpd),
		slots: { luci: slots(services?.uhttpd), public: slots(services?.['stripe-payments']) },
		limits_slow_clients: !!access('/usr/lib/ucode/socket.so', 'r')
	};
}

// Whether a login of /etc/config/rpcd holds a permission of an ACL group (rpcd's session.c: patterns, ! excludes).
function holds(login, permission, group) {
	const patterns = type(login[permission]) == 'array' ? login[permission] : [];
	const matches = (excluding) => length(filter(patterns, (pattern) => (substr(pattern, 0, 1) == '!') == excluding
		&& wildcard(group, replace(pattern, /^! */, ''))));

	return !matches(true) && matches(false) || permission == 'read' && holds(login, 'write', group);
}

// The ACL groups that grant a permission of every method on the bus, as [ permission, group ].
function limitless_groups() {
	const found = [];

	for (let path in glob('/usr/share/rpcd/acl.d/*.json')) {
		let groups = null;

		try {
			groups = json(readfile(path));
		}
		catch (e) {}   // rpcd skips it, too

		for (let name, rights in type(groups) == 'object' ? groups : {})
			for (let permission in [ 'read', 'write' ])
				if ('*' in (rights?.[permission]?.ubus?.['*'] ?? []))
					push(found, [ permission, name ]);
	}

	return found;
}

// The logins of LuCI that may do everything: `list write '*'`, or a group of every method on the bus.
function unlimited_logins() {
	const groups = limitless_groups();
	const logins = filter(values(sections('rpcd') ?? {}), (section) => section['.type'] == 'login');

	return {
		logins: map(
			filter(logins, (login) => (type(login.write) == 'array' && '*' in login.write)
				|| length(filter(groups, (group) => holds(login, ...group)))),
			(login) => login.username ?? ''
		)
	};
}

return {
	'stripe-payments.uci': {
		// the committed sections of both configurations, as rpcd's `uci get` shows them; instead of malformed settings
		// what is wrong with them: {features, settings} or {features, malformed}
		load: {
			call: load
		},

		// {PATH: {result, mount}}: whether something can be stored in each folder that payments need
		storage: {
			call: storage
		},

		// {running[] {script, seconds}}: the hotplug scripts that run
		scripts: {
			call: scripts
		},

		// {mounts[], staged, certificate, listeners[] {listen, open, holder}, bus[] {address, path, secure},
		// slots {luci[], public[]} {used, all}, limits_slow_clients}: where the gateway and the bus are served, and how
		// busy the web servers are
		web_servers: {
			call: web_servers
		},

		// {logins[]}: the names of the logins of LuCI that may do everything
		unlimited_logins: {
			call: unlimited_logins
		},

		// {NAME: {unlocked, source, plan, until, reason}}: sections that are not named stay as they are
		store: {
			args: { features: {} },
			call: (request) => {
				store_features(request.args.features);

				return {};
			}
		},

		// the enrolment code of `option hub_code` that was used
		forget_hub_code: {
			args: { code: '' },
			call: (request) => {
				forget_hub_code(request.args.code);

				return {};
			}
		},

		// {ALIAS: price_id} of price sections that exist
		store_prices: {
			args: { prices: {} },
			call: (request) => {
				store_prices(request.args.prices);

				return {};
			}
		}
	}
};
