'use strict';
// @supabase/stripe-sync-engine behind fastify, as its README sets it up.
const { StripeSync, runMigrations } = require('@supabase/stripe-sync-engine');
const fastify = require('fastify');

const { DATABASE_URL: databaseUrl, STRIPE_WEBHOOK_SECRET: stripeWebhookSecret, PORT: port } = process.env;

(async () => {
	await runMigrations({ databaseUrl, schema: 'stripe' });
	const sync = new StripeSync({
		schema: 'stripe',
		stripeSecretKey: 'sk_test_example',
		stripeWebhookSecret,
		backfillRelatedEntities: false,
		autoExpandLists: false,
		poolConfig: { connectionString: databaseUrl, max: 10 },
	});
	const app = fastify({ bodyLimit: 1048576 });
	app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
	app.post('/webhook', async (request) => {
		await sync.processWebhook(request.body, request.headers['stripe-signature']);
		return { received: true };
	});
	await app.listen({ port: Number(port), host: '127.0.0.1' });
})();
