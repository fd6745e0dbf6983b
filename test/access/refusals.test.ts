/**
 * The texts of a refusal: the client learns the names of claims; the log also has values and the
 * access view.
 */
import { expect, test } from 'vitest';
import { ANONYMOUS, type Claims } from '../../src/access/access.ts';
import { denied, unknown } from '../../src/access/refusals.ts';
import { parsePattern } from '../../src/channels/catalog/pattern.ts';
import type { ResolvedChannel, ServedAccess } from '../../src/channels/served/served.ts';
import { SnoError, toldToClient } from '../../src/errors.ts';

const pattern = parsePattern('project:{project_id}');
if (pattern instanceof SnoError) throw pattern;
const access: ServedAccess = {
  sql: '',
  valueTypes: ['integer'],
  claims: [
    { name: 'sub', type: 'text', input: { kind: 'text' } },
    { name: 'org_ref', type: 'uuid', input: { kind: 'uuid' } },
  ],
  fingerprint: '',
};
const channel = (value: string, type = 'integer', view: ServedAccess | undefined = access): ResolvedChannel => ({
  name: `project:${value}`,
  values: [value],
  valueTypes: [type],
  pattern,
  view: undefined,
  access: view,
});
const ORG = '00000000-0000-0000-0000-000000000001';

test.each<[Claims, string, RegExp, RegExp]>([
  [ANONYMOUS, 'no token', /^this connection has no token/, /sub \(text\), which is missing;.*; there is no token$/],
  [
    { sub: 'u1', exp: 5 },
    'claim missing',
    /: it lacks the claim "org_ref" that the channel requires; it has the claims "sub", "exp"\./,
    /sub \(text\), which is "u1"; org_ref \(uuid\), which is missing; the token has the claims "sub", "exp"$/,
  ],
  [
    { sub: 'u1', org_ref: null },
    'claim missing',
    /lacks the claim "org_ref"/,
    /which is null, not a value of that type/,
  ],
  [{}, 'claim missing', /lacks the claims "sub", "org_ref" .* has no claims/, /the token has no claims$/],
  [
    { sub: 'u1', org_ref: ['red'] },
    'claim of another type',
    /: the claim "org_ref" must be of another type; it has/,
    /which is \["red"\], not a value/,
  ],
  [{ sub: 'u1', org_ref: { id: ORG } }, 'claim of another type', /the claim "org_ref" must/, /which is \{"id":/],
  [{ sub: 'u1', org_ref: [] }, 'no row', /may not join project:42; it has/, /which is \[\];/],
  [{ sub: 'u1', org_ref: ['red', ORG] }, 'no row', /may not join project:42; it has/, /which is \["red",/],
  [{ sub: 'u1', org_ref: ORG }, 'no row', /may not join project:42; it has/, /has no row for "project:42"\. It asks/],
])('%j: %s', (claims, lack, told, logged) => {
  const { lack: found, error } = denied(channel('42'), access, claims);
  expect(found).toBe(lack);
  const { message } = toldToClient(error);
  expect(message).toMatch(told);
  // the client learns neither a value nor what the view is made of
  expect(message).not.toMatch(/u1|red|0000|channel_access|project_id|uuid/);
  expect(error.detail).toMatch(logged);
});

test('long claims and long lists of claims are cut', () => {
  const claims = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`c${index}${'x'.repeat(500)}`, 1]));
  const { error } = denied(channel('42'), access, { ...claims, sub: 'y'.repeat(60_000) });
  expect(toldToClient(error).message.length).toBeLessThan(3_000);
  expect(error.detail?.length).toBeLessThan(4_000);
});

test('a view without claims refuses by its rows alone', () => {
  expect(denied(channel('42'), { ...access, claims: [] }, ANONYMOUS).lack).toBe('no row');
});

test.each([
  ['42', 'uuid', '"42" is not a valid uuid', '"42" is not of type uuid'],
  ['01', 'integer', '"01" is not a valid integer', '"01" is not of type integer'],
  ['x', 'app.mood', '"x" is not a valid value', '"x" is not of type app.mood'],
])('%s for a %s: the client gets the value and the type, the log the pattern too', (value, type, told, logged) => {
  const error = unknown(channel(value, type));
  expect(error.detail).toBe(`channels."project:{project_id}": {project_id}: ${logged}, as Postgres writes it`);
  expect(toldToClient(error).message).toContain(
    `the channel project:${value} does not exist: ${told}, as Postgres writes it. `,
  );
  expect(toldToClient(error).message).not.toMatch(/project_id|app\.mood/);
});
