/** Errors tell clients no definition, column, SQL or name of another client. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ERRORS, type ErrorCode, SnoError, toldToClient } from '../src/errors.ts';

const codes = Object.keys(ERRORS) as ErrorCode[];
const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => `src/${path}`);
const isForClients = (code: string) => ERRORS[code as ErrorCode]?.audience === 'client';

test.each(codes)('%s: hint, detail and cause of the error stay in the log', (code) => {
  const secrets = { hint: 'create view secret', detail: 'secret column', cause: new Error('secret table') };
  const told = toldToClient(new SnoError(code, isForClients(code) ? 'what happened' : 'a secret view', secrets));
  expect(JSON.stringify(told)).not.toContain('secret');
  expect(told.code).toBe(isForClients(code) ? code : 'try_again');
});

/**
 * The messages of errors that may reach clients, as the source has them, with their placeholders.
 */
function messages(): { readonly file: string; readonly code: string; readonly text: string }[] {
  return sources.flatMap((file) => {
    const source = readFileSync(file, 'utf8');
    const made = source.matchAll(/new SnoError\(\s*'(\w+)',\s*('[^'\n]*'|"[^"\n]*"|`[^`]*`|[\w.]+)/g);
    return [...made].map(([, code = '', text = '']) => ({ file, code, text })).filter(({ code }) => isForClients(code));
  });
}

/**
 * Values that messages may contain: the client's own words, limits, names of claims, and invalid
 * values.
 */
const FILLINGS = [
  'channel.name',
  'name',
  'names',
  'wantingNames',
  'invalidValues',
  'frame.type',
  'JSON.stringify(algorithm)',
  'JSON.stringify(error.claim)',
  'services.helloMs / 1_000',
  'frameBytesMax',
  'tokenBytesMax',
  'settings.SNO_MAX_TOKEN_BYTES',
  'channelBytesMax',
  'subscriptionsMax',
  'waitingMax',
  'this.#options.waitingMax',
  'this.#services.framesPerSecondMax',
  'sendsPerSecondMax',
  'DATA_BYTES_MAX',
  'SHOWN_DEPTH_MAX',
];

test("messages contain only the client's own words, limits and names of claims", () => {
  const all = messages();
  expect(all.length).toBeGreaterThan(30);
  const fillings = all.flatMap(({ text }) => [...text.matchAll(/\$\{([^}]+)\}/g)].map(([, filling]) => filling));
  expect([...new Set(fillings)].filter((filling) => !FILLINGS.includes(filling ?? ''))).toEqual([]);
});

test('no message and no hint for clients contains SQL or the name of a schema', () => {
  const texts = [
    ...messages().map(({ text }) => text),
    ...codes.filter(isForClients).flatMap((code) => [ERRORS[code].cause, ERRORS[code].hint]),
  ];
  for (const text of texts)
    expect(text).not.toMatch(/\bselect\b|create view|channel_access|channels\."|\bcolumns? of\b/i);
});

test('one function makes all error frames', () => {
  const direct = sources.filter(
    (file) =>
      /^src\/(gateway|fanout|workers)\//.test(file) &&
      /`\$\{error\.message\}|error\.hint\}/.test(readFileSync(file, 'utf8')),
  );
  expect(direct).toEqual([]);
});
