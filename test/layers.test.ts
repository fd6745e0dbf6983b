import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  crowdedFolders,
  forbiddenImports,
  importCycles,
  importsOf,
  loadedBy,
  unknownFolders,
} from './support/layers.ts';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

const files = readdirSync(SRC, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(SRC, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));

const sources = new Map(
  files.filter((file) => file.endsWith('.ts')).map((file) => [file, readFileSync(join(SRC, file), 'utf8')]),
);

describe('src', () => {
  test('imports only to the left', () => {
    expect(forbiddenImports(sources)).toEqual([]);
  });

  test('has no cycle', () => {
    expect(importCycles(sources)).toEqual([]);
  });

  test('has no folder that the rule does not name', () => {
    expect(unknownFolders(sources.keys())).toEqual([]);
  });

  test('has no folder with more than 20 files directly in it', () => {
    expect(crowdedFolders(files)).toEqual([]);
  });

  test('has a main.ts of at most 150 lines: it picks the roles, starts and stops them', () => {
    expect(sources.get('main.ts')?.trimEnd().split('\n').length).toBeLessThanOrEqual(150);
  });

  test('serves clients without the SQL parser and without compiling a view', () => {
    const loaded = [...loadedBy('workers/worker.ts', sources)];
    expect(loaded).toContain('channels/served/names.ts');
    const unneeded = /^(wal|decode|setup)\/|^channels\/(sql|compiler|definitions|evaluation|routines|remote)\//;
    expect(loaded.filter((file) => unneeded.test(file))).toEqual([]);
  });

  test('is read completely: its files import one another', () => {
    const found = new Set([...sources].flatMap(([file, source]) => importsOf(file, source)));
    expect(found).toContain('lsn.ts');
    expect(found).toContain('node:events');
  });
});

describe('the rule', () => {
  test.each([
    ['wal/a.ts', "import { b } from '../decode/b.ts';"],
    ['channels/a.ts', "import type { B } from '../journal/b.ts';"],
    ['journal/a.ts', "export * from '../access/b.ts';"],
    ['access/a.ts', "const b = await import('../fanout/b.ts');"],
    ['fanout/a.ts', "import '../gateway/b.ts';"],
    ['gateway/a.ts', "import {\n  b,\n} from '../main.ts';"],
    ['lsn.ts', "import { b } from './wal/b.ts';"],
    ['postgres/a.ts', "import { b } from '../wal/b.ts';"],
    ['gateway/a.ts', "import { b } from '../client/b.ts';"],
    ['client/a.ts', "import { b } from 'node:fs';"],
    ['client/a.ts', "import { b } from 'ws';"],
    ['client/a.ts', "import { b } from '../lsn.ts';"],
    ['client/a.ts', "import { useRef } from 'react';"],
    ['client/a.ts', "import { b } from './react/b.ts';"],
    ['client/react/a.ts', "import { b } from '@tanstack/db';"],
    ['client/tanstack/a.ts', "import { b } from 'react';"],
    ['channels/values/a.ts', "import { b } from '../compiler/b.ts';"],
    ['channels/compiler/expressions/a.ts', "import { b } from '../b.ts';"],
    ['channels/evaluation/a.ts', "import { b } from '../router.ts';"],
    ['channels/a.ts', "import { b } from './catalog/b.ts';"],
    ['gateway/accept/a.ts', "import { b } from '../server.ts';"],
    ['fanout/a.ts', "import { b } from '../channels/compiler/b.ts';"],
    ['main.ts', "import { b } from './channels/values/b.ts';"],
    ['dashboard/a.ts', "import { b } from '../gateway/b.ts';"],
  ])('forbids %s: %s', (file, source) => {
    expect(forbiddenImports(new Map([[file, source]]))).toHaveLength(1);
  });

  test.each([
    ['gateway/a.ts', "import { b } from '../fanout/b.ts';"],
    ['access/a.ts', "import { b } from '../channels/served/b.ts';"],
    ['cli/a.ts', "import { b } from '../channels/compiler/b.ts';"],
    ['channels/compiler/a.ts', "import { b } from './expressions/b.ts';\nimport { c } from '../channel.ts';"],
    ['channels/router.ts', "import { b } from './definitions/b.ts';"],
    ['gateway/server.ts', "import { b } from './accept/b.ts';"],
    ['wal/a.ts', "import { b } from '../lsn.ts';\nimport pg from 'pg';"],
    ['wal/a.ts', "/* import { b } from '../decode/b.ts'; */\n// import '../gateway/b.ts'"],
    ['client/a.ts', `throw new Error("pass (await import('ws')).WebSocket");`],
    ['main.ts', "import { b } from './gateway/b.ts';"],
    ['cli/a.ts', "import { b } from '../main.ts';\nimport { c } from '../client/c.ts';"],
    ['client/a.ts', "import { b } from '../protocol.ts';\nimport { c } from './c.ts';"],
    ['client/react/a.ts', "import { useRef } from 'react';\nimport { b } from '../b.ts';"],
    ['client/tanstack/a.ts', "import type { B } from '@tanstack/db';"],
  ])('allows %s: %s', (file, source) => {
    expect(forbiddenImports(new Map([[file, source]]))).toEqual([]);
  });

  test('finds a cycle', () => {
    const cyclic = new Map([
      ['a.ts', "import './wal/b.ts';"],
      ['wal/b.ts', "import type { C } from './c.ts';"],
      ['wal/c.ts', "import { a } from '../a.ts';"],
      ['d.ts', "import './a.ts';"],
    ]);
    expect(importCycles(cyclic)).toEqual(['a.ts -> wal/b.ts -> wal/c.ts -> a.ts']);
  });

  test('finds a folder that it does not name', () => {
    expect(unknownFolders(['wal/a.ts', 'lsn.ts', 'extra/b.ts'])).toEqual(['extra']);
  });

  test('finds a folder with too many files', () => {
    const many = Array.from({ length: 21 }, (_, number) => `wal/${number}.ts`);
    expect(crowdedFolders([...many, 'lsn.ts', 'wal/slot/a.ts'])).toEqual(['wal']);
  });
});
