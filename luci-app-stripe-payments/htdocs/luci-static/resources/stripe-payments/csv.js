'use strict';
'require baseclass';

/*
 * A table as a CSV file (RFC 4180) that a spreadsheet opens without executing
 * anything: what begins like a formula gets an apostrophe in front.
 * https://owasp.org/www-community/attacks/CSV_Injection
 */
const FORMULA = /^[\s\u200b\ufeff]*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;
const NUMBER = /^-?\d+(\.\d+)?$/;

function cell(value) {
	const text = String(value ?? '');
	const safe = (FORMULA.test(text) && !NUMBER.test(text)) ? `'${text}` : text;

	return `"${safe.replace(/"/g, '""')}"`;
}

return baseclass.extend({
	/** Rows of cells -> the file's text. */
	encode(rows) {
		return rows.map(row => row.map(cell).join(',') + '\r\n').join('');
	},

	/** Hands the file to the browser's downloads; the mark in front tells spreadsheets that it is UTF-8. */
	download(name, rows) {
		const address = URL.createObjectURL(new Blob([ '\ufeff', this.encode(rows) ], { type: 'text/csv;charset=utf-8' }));
		const link = E('a', { 'href': address, 'download': name, 'class': 'sp-hidden' });

		document.body.append(link);
		link.click();
		link.remove();
		window.setTimeout(() => URL.revokeObjectURL(address), 10e3);
	}
});
