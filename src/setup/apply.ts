/**
 * Applies the plan of setup. `sno start` runs the steps that its role may run, and prints the SQL
 * for the others.
 */
import type pg from 'pg';
import { SnoError } from '../errors.ts';
import { databaseError } from '../postgres/connect.ts';
import { planSetup, type SetupOptions, type SetupStep } from './plan.ts';

export interface SetupWarning {
  readonly what: string;
  readonly message: string;
  readonly sql: string;
}

export interface SetupOutcome {
  /** The `what` of each step that was done. */
  readonly done: readonly string[];
  readonly warnings: readonly SetupWarning[];
}

/**
 * Runs the needed steps of a plan, each in a transaction of its own. Optional and manual steps that
 * were not done come back as warnings. The first other step that fails throws `missing_privilege`
 * with the SQL of all remaining steps.
 */
export async function applySetup(client: pg.ClientBase, steps: readonly SetupStep[]): Promise<SetupOutcome> {
  const done: string[] = [];
  const warnings: SetupWarning[] = [];
  const needed = steps.filter((step) => step.needed && step.kind !== 'suggested');
  for (const [index, step] of needed.entries()) {
    const { what, sql, kind } = step;
    if (kind === 'manual') {
      warnings.push({ what, message: 'not done: an operator must run it', sql });
      continue;
    }
    try {
      const undone = await runStep(client, step);
      warnings.push(...undone);
      if (undone.length === 0) done.push(what);
    } catch (error) {
      if (kind !== 'optional') throw stepError(error, step, needed.slice(index));
      warnings.push({ what, message: (error as Error).message, sql });
    }
  }
  return { done, warnings };
}

/** Runs one step in a transaction. Returns what `sno.sync_publication()` could not do. */
async function runStep(client: pg.ClientBase, { what, sql }: SetupStep): Promise<SetupWarning[]> {
  await client.query('begin');
  try {
    const results = [await client.query(sql)].flat() as pg.QueryResult<{
      relation: string;
      result: string | null;
      reason: string;
    }>[];
    await client.query('commit');
    const rows = results.flatMap(({ fields, rows }) => (fields.some(({ name }) => name === 'reason') ? rows : []));
    return rows
      .filter(({ result }) => result !== 'added')
      .map(({ relation, result, reason }) => ({
        what,
        message: result === null ? `${relation}: ${reason}` : `${relation} was ${result}: ${reason}`,
        sql,
      }));
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

/**
 * Makes the error of a failed step. SQLSTATE 42501 is insufficient_privilege, 25006 a read-only
 * server.
 */
function stepError(error: unknown, { what, sql }: SetupStep, left: readonly SetupStep[]): SnoError {
  const { code } = error as { code?: string };
  if (code === undefined || !/^(42501|25006)$/.test(code)) return databaseError(error);
  const isLong = sql.includes('\n\n');
  const rest = left.filter((step) => step.kind === 'required').map((step) => step.sql);
  return new SnoError(
    isLong ? 'setup_required' : 'missing_privilege',
    `the database lacks ${what}, and this role may not create it: ${(error as Error).message}`,
    {
      cause: error,
      ...(isLong ? {} : { hint: `Run as a role that may:\n${rest.join('\n')}` }),
    },
  );
}

export interface Readiness extends SetupOutcome {
  /** Whether event triggers report DDL in the WAL. If not, the catalog must be polled. */
  readonly eventTriggers: boolean;
}

const KEY = "hashtextextended('sno setup', 0)";

/**
 * Runs the missing steps that the role may run. Throws a SnoError if Snö cannot run with the
 * result. `identities: false` leaves the application's tables as they are.
 */
export async function ensureSetup(client: pg.ClientBase, options: SetupOptions): Promise<Readiness> {
  const plan = await planSetup(client, options);
  if (!plan.some(({ needed }) => needed)) return { done: [], warnings: [], eventTriggers: true };
  // Two processes that start together set the database up one after the other. Each plans anew once
  // it has the lock, since the other one may have done everything meanwhile.
  await client.query(`select pg_advisory_lock(${KEY})`);
  try {
    return await complete(client, options);
  } finally {
    // A broken connection has released it.
    await client.query(`select pg_advisory_unlock(${KEY})`).catch(() => undefined);
  }
}

async function complete(client: pg.ClientBase, options: SetupOptions): Promise<Readiness> {
  const done: string[] = [];
  const warnings: SetupWarning[] = [];
  let plan = await planSetup(client, options);
  if (plan.some(({ kind, needed }) => kind === 'manual' && needed))
    throw new SnoError('wal_level_not_logical', 'the wal_level of the server is too low');
  // Twice: the needs of existing channels are known only once the functions are installed.
  for (let round = 0; round < 2 && plan.some(({ needed }) => needed); round++) {
    const outcome = await applySetup(client, plan);
    done.push(...outcome.done);
    warnings.splice(0, warnings.length, ...outcome.warnings);
    plan = await planSetup(client, options);
  }
  return {
    done: [...new Set(done)],
    warnings,
    eventTriggers: !plan.some(({ kind, needed }) => kind === 'optional' && needed),
  };
}
