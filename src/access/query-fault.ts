/**
 * Decides what caused an error of an access query: the values, the view, or the database's current
 * state.
 */
import pg from 'pg';
import { isInFlux } from '../postgres/flux.ts';

/**
 * value: a value is not valid for its column's type, or breaks a domain's constraint. view: the
 * view cannot be evaluated, at least for these values. passing: anything else; the same question
 * may be answered later.
 */
export type QueryFault = 'value' | 'view' | 'passing';

/**
 * SQLSTATE classes that say nothing about the view: 08 connection, 25 transaction state, 26 and 28
 * the session, 3D the database, 40 rollback, 53 resources, 57 operator, 58 system, F0
 * configuration, HV foreign servers, XX internal.
 */
const PASSING = /^(?:08|25|26|28|3D|40|53|57|58|F0|HV|XX)/;
/** 22 data exception, 23 constraint of a domain. */
const VALUE = /^2[23]/;
/** object_in_use and lock_not_available; cannot_connect_now is of class 57. */
const BUSY: ReadonlySet<string> = new Set(['55006', '55P03']);
/** feature_not_supported, for a plan from before a definition changed. */
const OLD_PLAN = /cached plan must not change result type/;
const INTERNAL_ERROR = 'XX000';

export function queryFault(error: unknown): QueryFault {
  if (!(error instanceof pg.DatabaseError) || error.severity !== 'ERROR') return 'passing';
  const { code = '', message, position } = error;
  if (VALUE.test(code)) return 'value';
  // Functions of extensions raise it because of their arguments.
  if (code === INTERNAL_ERROR) return isInFlux(error) ? 'passing' : 'view';
  if (PASSING.test(code) || BUSY.has(code) || OLD_PLAN.test(message)) return 'passing';
  // A position in the query itself: the view differs from the one that the stream has delivered.
  if (code.startsWith('42') && code !== '42501' && position !== undefined) return 'passing';
  return 'view';
}
