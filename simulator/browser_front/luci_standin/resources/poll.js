'use strict';
'require baseclass';

/*
 * LuCI.poll: functions that are called again every few seconds.
 */
return baseclass.extend({
	queue: [],

	add(fn, interval) {
		if (this.queue.some(entry => entry.fn === fn))
			return false;

		this.queue.push({ fn, interval: (interval || L.env.pollinterval) >>> 0, ready: true });

		if (this.tick != null && !this.active())
			this.start();

		return true;
	},

	remove(fn) {
		const before = this.queue.length;

		this.queue = this.queue.filter(entry => entry.fn !== fn);

		if (!this.queue.length && this.stop())
			this.tick = 0;

		return this.queue.length != before;
	},

	start() {
		if (this.active())
			return false;

		this.tick = 0;

		if (this.queue.length) {
			this.timer = window.setInterval(() => this.step(), 1000);
			this.step();
			document.dispatchEvent(new CustomEvent('poll-start'));
		}

		return true;
	},

	stop() {
		if (!this.active())
			return false;

		document.dispatchEvent(new CustomEvent('poll-stop'));
		window.clearInterval(this.timer);
		delete this.timer;
		delete this.tick;
		return true;
	},

	step() {
		for (const entry of [ ...this.queue ])
			if (this.tick % entry.interval == 0 && entry.ready) {
				entry.ready = false;
				Promise.resolve(entry.fn()).finally(() => { entry.ready = true; });
			}

		this.tick++;
	},

	active() {
		return this.timer != null;
	}
});
