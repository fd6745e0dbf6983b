/** docs/architecture.md names every folder of src, and files that exist. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const page = readFileSync(`${ROOT}docs/architecture.md`, 'utf8');

/** The rows of the first table: the folders, and the cells after them. */
const rooms = [...page.matchAll(/^\| (`src\/[^|]+) \|([^|]+)\|([^|]+)\|$/gm)].map(([, folders, what, files]) => ({
  folders: inCode(folders as string),
  within: inCode(what as string).filter((text) => text.endsWith('/')),
  files: inCode(`${what} ${files}`).filter((text) => /^[\w/-]+\.ts$/.test(text)),
}));

function inCode(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, inner]) => inner as string);
}

const folders = readdirSync(`${ROOT}src`, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => `${entry.parentPath}/${entry.name}`.slice(ROOT.length));

test.each(folders)('has a line for %s', (folder) => {
  const named = rooms.flatMap((room) => [
    ...room.folders,
    ...room.within.map((inner) => `${room.folders[0]}/${inner.slice(0, -1)}`),
  ]);
  expect(named).toContain(folder);
});

describe.each(rooms)('$folders', (room) => {
  test('exists', () => {
    expect(room.folders.filter((folder) => !existsSync(ROOT + folder))).toEqual([]);
  });

  test('has the files that its line names', () => {
    const isThere = (file: string) => room.folders.some((folder) => existsSync(`${ROOT}${folder}/${file}`));
    expect(room.files.filter((file) => !isThere(file))).toEqual([]);
  });
});

test('names files elsewhere that exist', () => {
  const paths = inCode(page).filter((text) => /^(src|test|bench|docs|sql)\/[\w./-]+\.\w+$/.test(text));
  expect(paths).not.toEqual([]);
  expect(paths.filter((path) => !existsSync(ROOT + path))).toEqual([]);
});
