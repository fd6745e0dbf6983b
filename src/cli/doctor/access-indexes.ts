/** Finds access views whose query reads a whole table for each subscription. */
import type pg from 'pg';
import { readCatalog } from '../../channels/catalog/reader.ts';
import { compileAccess } from '../../channels/compiler/access/view.ts';
import { loadParser } from '../../channels/sql/parse.ts';
import { Types } from '../../channels/values/types.ts';
import { SnoError } from '../../errors.ts';
import { accessReads, CANNOT_BE_QUERIED } from '../check/access-reads.ts';
import { fail, type Outcome, ok, warn } from './finding.ts';

/** Needs a database that is set up. Changes nothing. */
export async function accessIndexOutcomes(client: pg.Client, publication: string): Promise<readonly Outcome[]> {
  await loadParser();
  await client.query("begin; set local lock_timeout = '5s'");
  try {
    const catalog = await readCatalog(client, publication);
    const types = new Types(catalog.types);
    const outcomes: Outcome[] = [];
    for (const declared of catalog.access) {
      const access = compileAccess(declared, types, catalog.tables);
      if (access instanceof SnoError) continue;
      const warnings = await accessReads(client, declared, access);
      outcomes.push(...warnings.map(outcomeOf));
    }
    return outcomes.length === 0 ? [ok('indexes serve all access views')] : outcomes;
  } finally {
    await client.query('rollback');
  }
}

/** Splits off the CREATE INDEX at the end of the warning. */
function outcomeOf(warning: string): Outcome {
  if (CANNOT_BE_QUERIED.test(warning))
    return fail(
      warning,
      'Clients are refused. If a right is missing, run as the role that set Snö up: select * from sno.grant_service();',
    );
  const [, message = warning, index] = /^(.*); (CREATE INDEX .*)$/s.exec(warning) ?? [];
  return warn(
    message,
    index === undefined
      ? 'Create an index on the columns that the view compares, or write the view with a simpler condition.'
      : `Run: ${index}`,
  );
}
