'use strict';

/*
 * The globals of LuCI's pages: translation, string formatting, E().
 */

/* 32-bit arithmetic of SuperFastHash by Paul Hsieh as LuCI uses it for the keys
 * of its catalogs: seeded with the length, over UTF-8. */
function sfh(text) {
	const bytes = new TextEncoder().encode(text);
	const half = at => bytes[at] | (bytes[at + 1] << 8);
	const signed = at => (bytes[at] << 24) >> 24;
	const whole = bytes.length & ~3;
	let hash = bytes.length | 0;

	if (!bytes.length)
		return null;

	for (let at = 0; at < whole; at += 4) {
		hash = (hash + half(at)) | 0;
		hash = (hash << 16) ^ ((half(at + 2) << 11) ^ hash);
		hash = (hash + (hash >>> 11)) | 0;
	}

	switch (bytes.length & 3) {
	case 3:
		hash = (hash + half(whole)) | 0;
		hash ^= hash << 16;
		hash ^= signed(whole + 2) << 18;
		hash = (hash + (hash >>> 11)) | 0;
		break;
	case 2:
		hash = (hash + half(whole)) | 0;
		hash ^= hash << 11;
		hash = (hash + (hash >>> 17)) | 0;
		break;
	case 1:
		hash = (hash + signed(whole)) | 0;
		hash ^= hash << 10;
		hash = (hash + (hash >>> 1)) | 0;
		break;
	}

	for (const [ left, right ] of [ [ 3, 5 ], [ 4, 17 ], [ 25, 6 ] ]) {
		hash ^= hash << left;
		hash = (hash + (hash >>> right)) | 0;
	}

	return (hash >>> 0).toString(16).padStart(8, '0');
}

function catalogKey(text, context) {
	const tidy = value => String(value).trim().replace(/[ \t\n]+/g, ' ');

	return (context != null ? `${tidy(context)}\u0001` : '') + tidy(text);
}

window._ = function(text, context) {
	return window.TR?.[sfh(catalogKey(text, context))] || text;
};

window.N_ = function(count, singular, plural, context) {
	const rule = window.TR?.['00000000'] ?? 'plural=(n != 1);';
	const form = +(new Function('n', `let plural; ${rule} return +plural;`))(count);

	return window.TR?.[sfh(`${catalogKey(singular, context)}\u0002${form}`)] || (form ? plural : singular);
};

window.E = function(...args) {
	return window.L.dom.create(...args);
};

/* printf, as far as LuCI's documentation of String.format goes that views use */
Object.defineProperty(String.prototype, 'format', {
	configurable: true,
	writable: true,
	value(...args) {
		let next = 0;

		return this.replace(/%(0?)(\d*)(?:\.(\d+))?([%sdfxXhHJ])/g, (match, zero, width, precision, type) => {
			if (type == '%')
				return '%';

			const value = args[next++];
			let text;

			switch (type) {
			case 'd': text = String(Math.floor(+value || 0)); break;
			case 'f': text = (+value || 0).toFixed(precision ?? 6); break;
			case 'x': text = (+value || 0).toString(16); break;
			case 'X': text = (+value || 0).toString(16).toUpperCase(); break;
			case 'J': text = JSON.stringify(value); break;
			case 'h':
			case 'H': text = String(value ?? '').replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`); break;
			default: text = String(value);
			}

			return text.padStart(+width || 0, zero ? '0' : ' ');
		});
	}
});
