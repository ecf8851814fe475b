/*
 * The rules of LuCI's own repository for the files that run in LuCI, and on top
 * what this project asks of itself: tabs, strict mode, nothing unused or unknown.
 */
import { defineConfig, globalIgnores } from 'eslint/config';
import globals from 'globals';
import js from '@eslint/js';
import json from '@eslint/json';
import stylistic from '@stylistic/eslint-plugin';

const LUCI = {
	_: 'readonly',
	N_: 'readonly',
	E: 'readonly',
	L: 'readonly',
	TR: 'readonly',
};

/* A LuCI class file is the body of a function: what `'require x as y'` names is
 * its argument, and it returns its class. */
const REQUIRED = {
	baseclass: 'readonly',
	checkout: 'readonly',
	configuration: 'readonly',
	csv: 'readonly',
	doctor: 'readonly',
	dom: 'readonly',
	form: 'readonly',
	format: 'readonly',
	grants: 'readonly',
	page: 'readonly',
	payments: 'readonly',
	plans: 'readonly',
	poll: 'readonly',
	recovery: 'readonly',
	refunds: 'readonly',
	request: 'readonly',
	rpc: 'readonly',
	seller: 'readonly',
	session: 'readonly',
	setup: 'readonly',
	spending: 'readonly',
	tabs: 'readonly',
	uci: 'readonly',
	ui: 'readonly',
	view: 'readonly',
	widgets: 'readonly',
};

const HOUSE_RULES = {
	'no-empty': 'error',
	'no-implied-eval': 'error',
	'no-unused-vars': [ 'error', { caughtErrors: 'none' } ],
	'no-undef': 'error',
	'no-var': 'error',
	'prefer-const': 'error',
	'strict': [ 'error', 'global' ],
	'@stylistic/indent': 'off',
	'@stylistic/no-mixed-spaces-and-tabs': [ 'error', 'smart-tabs' ],
	'@stylistic/no-trailing-spaces': 'error',
	'@stylistic/eol-last': 'error',
	'@stylistic/quotes': [ 'error', 'single', { avoidEscape: true, allowTemplateLiterals: 'always' } ],
	'@stylistic/semi': [ 'error', 'always' ],
};

const MARKUP_FROM_DATA = {
	'no-restricted-properties': [ 'error',
		...[ 'innerHTML', 'outerHTML', 'insertAdjacentHTML' ].map(property => ({
			property, message: 'Build nodes with E(): data must never be read as markup.',
		})),
	],
};

const script = {
	sourceType: 'script',
	ecmaVersion: 2024,
	globals: { ...globals.browser, ...LUCI },
	parserOptions: { ecmaFeatures: { globalReturn: true } },
};

export default defineConfig([
	/* What attackers send is meant to be wrong. */
	globalIgnores([ '.venv/', 'build/', 'node_modules/', '.*_cache/', '.hypothesis/', 'campaigns/attack/corpus/' ]),
	{
		files: [ '**/*.mjs' ],
		plugins: { js, '@stylistic': stylistic },
		extends: [ 'js/recommended' ],
		languageOptions: { sourceType: 'module', globals: globals.node },
	},
	{
		files: [ 'luci-app-stripe-payments/htdocs/**/*.js' ],
		plugins: { js, '@stylistic': stylistic },
		extends: [ 'js/recommended' ],
		languageOptions: { ...script, globals: { ...script.globals, ...REQUIRED } },
		rules: { ...HOUSE_RULES, ...MARKUP_FROM_DATA },
	},
	{
		files: [ 'simulator/browser_front/luci_standin/**/*.js' ],
		plugins: { js, '@stylistic': stylistic },
		extends: [ 'js/recommended' ],
		languageOptions: { ...script, globals: { ...script.globals, ...REQUIRED } },
		rules: HOUSE_RULES,
	},
	{
		files: [ '**/*.json' ],
		ignores: [ '**/package-lock.json' ],
		plugins: { json },
		language: 'json/json',
		extends: [ 'json/recommended' ],
	},
]);
