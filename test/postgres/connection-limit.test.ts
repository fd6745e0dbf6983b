import { describe, expect, test } from 'vitest';
import { limitError } from '../../src/postgres/connection-limit.ts';

/** An error as Postgres 15 to 18 send it. The message may be in any language. */
const seen = (routine: string | undefined, message: string) =>
  Object.assign(new Error(message), { code: '53300', routine });

describe('an error with SQLSTATE 53300 names the limit by the function that reports it', () => {
  test.each([
    [
      'InitializeSessionUserId',
      'zu viele Verbindungen von Rolle »app«',
      false,
      'connections_exhausted',
      /of the role app is/,
    ],
    [
      'CheckMyDatabase',
      'too many connections for database "shop"',
      false,
      'connections_exhausted',
      /of the database shop is/,
    ],
    [
      'InitProcess',
      'sorry, too many clients already',
      false,
      'connections_exhausted',
      /^the server has no connection left/,
    ],
    ['InitPostgres', 'remaining connection slots are reserved', true, 'connections_exhausted', /^the server has/],
    [
      'InitProcess',
      'number of requested standby connections exceeds max_wal_senders',
      true,
      'slots_exhausted',
      /max_wal/,
    ],
    // from a pooler
    [undefined, 'no more connections allowed', true, 'connections_exhausted', /no more connections allowed$/],
  ] as const)('%s', (routine, message, isReplication, code, text) => {
    const error = seen(routine, message);
    expect(limitError(error, 'app', 'shop', isReplication)).toMatchObject({
      code,
      message: expect.stringMatching(text) as string,
      cause: error,
    });
  });

  test('other errors stay as they are', () => {
    const error = Object.assign(new Error('password authentication failed'), { code: '28P01' });
    expect(limitError(error, 'app', 'shop', false)).toBe(error);
  });
});
