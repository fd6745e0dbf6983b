/** docs/operations.md: its connection strings mean what it says beside them. */
import { expect, test } from 'vitest';
import { gatherParameters } from '../../src/postgres/conninfo/sources.ts';
import { BlocksFor } from '../docs/pages.ts';

const blocks = new BlocksFor('test/postgres/conninfo-page.test.ts');

/** Beside each string: the parameters that it gives. */
const MEANING: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'the one that is the primary': {
    user: 'sno',
    password: 'p@ss',
    host: 'db1,db2',
    dbname: 'app',
    target_session_attrs: 'primary',
  },
  'a unix socket': { user: 'sno', host: '/var/run/postgresql', dbname: 'app' },
  'the same': { user: 'sno', host: '/var/run/postgresql', dbname: 'app' },
  'with ~/.pgpass': {
    user: 'sno',
    host: 'db',
    dbname: 'app',
    sslmode: 'verify-full',
    sslrootcert: '/etc/ca.pem',
  },
};

test('the connection strings of docs/operations.md have the parameters that they show', () => {
  const { text } = blocks.take('docs/operations.md', 'target_session_attrs=primary');
  const found = text
    .trim()
    .split('\n')
    .map((line) => {
      const [string = '', meaning = ''] = line.split(/ +-- /);
      return [meaning, Object.fromEntries([...gatherParameters(string, {})].map(([name, { value }]) => [name, value]))];
    });
  expect(Object.fromEntries(found)).toEqual(MEANING);
  expect(blocks.left).toEqual([]);
});
