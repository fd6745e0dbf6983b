/**
 * The class of an SQLSTATE decides whether the value, the access view or a passing condition is at
 * fault.
 */
import pg from 'pg';
import { expect, test } from 'vitest';
import { queryFault } from '../../src/access/query-fault.ts';

function fault(code: string, more: Partial<pg.DatabaseError> = {}) {
  return queryFault(Object.assign(new pg.DatabaseError('it failed', 0, 'error'), { severity: 'ERROR', code }, more));
}

test.each([
  ['value', '22012 22P02 22P05 22021 23502 23514'],
  [
    'view',
    '0A000 0P000 20000 21000 24000 27000 2BP01 2D000 2F005 34000 38001 39004 3B001 3F000 42501 42P17 42883 42P01',
  ],
  ['view', '44000 45000 54001 54023 55000 P0001 P0002 P0003 P0004 U0001 99999'],
  ['passing', '08006 08P01 25006 25P02 25P04 26000 28000 28P01 3D000 40001 40P01 53100 53200 53300 55006 55P03'],
  ['passing', '57014 57P01 57P03 57P05 58000 58030 F0000 HV000 XX001 XX002'],
])('%s: %s', (kind, codes) => {
  expect(codes.split(' ').map((code) => [code, fault(code)])).toEqual(codes.split(' ').map((code) => [code, kind]));
});

test('classifies errors for which the code alone is not enough', () => {
  expect(fault('XX000')).toBe('view');
  expect(fault('XX000', { message: 'cache lookup failed for relation 1' })).toBe('passing');
  expect(fault('0A000', { message: 'cached plan must not change result type' })).toBe('passing');
  // a position in the query itself: the view was dropped, or has other columns
  expect([fault('42P01', { position: '20' }), fault('42501', { position: '20' })]).toEqual(['passing', 'view']);
  // the error ended the connection
  expect(fault('P0001', { severity: 'FATAL' })).toBe('passing');
  expect(queryFault(new Error('Query read timeout'))).toBe('passing');
});
