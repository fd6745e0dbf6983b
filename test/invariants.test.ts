/** docs/invariants.md names tests that exist. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

const promises = read('docs/invariants.md').split(/^## /m).slice(1);

test('has twelve promises, in order', () => {
  expect(promises.map((text) => Number(/^(\d+)\. /.exec(text)?.[1]))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
});

describe.each(promises.map((text) => [text.slice(0, text.indexOf('\n')), text] as const))('%s', (_, text) => {
  const references = [...text.matchAll(/^- `(test\/[^`]+)`: (.+)$/gm)].map(
    ([, path, name]) => [path, name] as [string, string],
  );

  test('is checked by a test', () => {
    expect(references).not.toEqual([]);
  });

  test.each(references)('%s: %s', (path, name) => {
    expect(read(path)).toContain(name);
  });
});
