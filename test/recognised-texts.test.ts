/**
 * Some files recognise errors and lines of the log by their texts. A text that is reworded in one
 * file only is no longer recognised.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const TEXTS: readonly (readonly [recogniser: string, text: string, writer: string])[] = [
  ['admin/api/health.ts', 'access could not be checked', 'access/access-view.ts'],
  ['admin/api/health.ts', 'the key server', 'access/key-server.ts'],
  ['admin/api/health.ts', 'a published message was dropped', 'roles/change-pipeline.ts'],
  ['admin/api/health.ts', 'a notification was dropped', 'roles/notified-messages.ts'],
  ['admin/api/health.ts', 'SNO_ACCESS=open', 'access/token.ts'],
  ['admin/api/health.ts', 'no key to check tokens with is set', 'access/token.ts'],
  ['roles/inspect/relay-info.ts', 'not connected to NATS', 'roles/many-machines.ts'],
  ['roles/inspect/relay-info.ts', 'the stream takes no steps', 'roles/many-machines.ts'],
  ['roles/explain/token-step.ts', 'no key of the key server', 'access/token.ts'],
  ['roles/explain/token-step.ts', 'signature', 'access/token.ts'],
  ['roles/explain/token-step.ts', 'claim', 'access/token.ts'],
];

/** The source without its comments. */
function sourceOf(file: string): string {
  return readFileSync(new URL(`../src/${file}`, import.meta.url), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
}

test.each(TEXTS)('%s recognises "%s" as %s writes it', (recogniser, text, writer) => {
  expect(sourceOf(recogniser)).toContain(text);
  expect(sourceOf(writer)).toMatch(new RegExp(`['"\`].*${text}`));
});
