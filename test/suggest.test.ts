import { expect, test } from 'vitest';
import { suggest } from '../src/suggest.ts';

const COMMANDS = ['demo', 'start', 'setup', 'check', 'doctor', 'tail', 'token'];

test.each([
  ['strat', 'start'],
  ['stat', 'start'],
  ['chekc', 'check'],
  ['doctr', 'doctor'],
  ['tokn', 'token'],
  ['toekn', 'token'],
  ['start', 'start'],
])('suggests for %s: %s', (word, meant) => {
  expect(suggest(word, COMMANDS)).toBe(meant);
});

test.each(['', 'x', 'serve', 'publish', 'ta'])('suggests nothing for %j', (word) => {
  expect(suggest(word, COMMANDS)).toBeUndefined();
});
