'use strict';
'require baseclass';

/*
 * The interface of LuCI's µQR library: renderSVG() answers at once, so this
 * asks the front for the picture and waits.
 */
return baseclass.extend({
	renderSVG(data, options = {}) {
		const ask = new XMLHttpRequest();

		ask.open('GET', `/luci-static/standin/qr.svg?scale=${options.pixelSize ?? 1}&data=${encodeURIComponent(data)}`, false);
		ask.send();

		if (ask.status != 200)
			throw new Error('Data too long');

		return ask.responseText;
	}
});
