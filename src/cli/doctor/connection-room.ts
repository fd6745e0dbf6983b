/** Checks whether the role, the database and the server allow the connections that Snö needs. */
import type pg from 'pg';
import { MAIN_QUERY_CONNECTIONS, WORKER_QUERY_CONNECTIONS } from '../../config/connections.ts';
import type { Settings } from '../../config/settings.ts';
import { readableName } from '../../postgres/quote.ts';
import type { Outcome } from './finding.ts';

interface Limit {
  readonly of: 'role' | 'database' | 'server';
  readonly name: string;
  /** Undefined: no limit. */
  readonly max: number | undefined;
  /** Connections that count against that limit and are not Snö's. */
  readonly others: number;
}

interface Need {
  /** WAL senders do not count against max_connections and the database's limit. */
  readonly queries: number;
  readonly replication: number;
}

/** `LISTEN`, and setup at the start. */
const LISTEN_AND_SETUP = 2;

export function connectionsNeeded(
  settings: Pick<Settings, 'SNO_WORKERS' | 'SNO_SNAPSHOTS' | 'SNO_ACCESS_QUERIES'>,
): Need {
  const { SNO_WORKERS: workers, SNO_SNAPSHOTS: snapshots, SNO_ACCESS_QUERIES: access } = settings;
  const perWorker =
    workers === 0 ? 0 : WORKER_QUERY_CONNECTIONS + Math.ceil(snapshots / workers) + Math.ceil(access / workers);
  const queries =
    MAIN_QUERY_CONNECTIONS + LISTEN_AND_SETUP + (workers === 0 ? snapshots + access : workers * perWorker);
  return { queries, replication: 1 };
}

/**
 * Connections of a running Snö are recognised by their names and do not count: it needs them
 * anyway. An ordinary role sees neither name nor kind of other roles' connections, so those count.
 */
const QUERY = `
with other as (
  select usename, datname, backend_type from pg_stat_activity
  where usename is not null and coalesce(backend_type, 'client backend') in ('client backend', 'walsender') and coalesce(application_name, '') not like 'sno %'
    and application_name is distinct from current_setting('application_name')
)
select 'role' as of, rolname as name, case when rolconnlimit >= 0 and not rolsuper then rolconnlimit end as max,
  (select count(*) from other where usename = rolname) as others
from pg_roles where rolname = current_user
union all
select 'database', datname, case when datconnlimit >= 0 and not (select rolsuper from pg_roles where rolname = current_user) then datconnlimit end,
  (select count(*) from other where other.datname = d.datname and backend_type is distinct from 'walsender')
from pg_database d where datname = current_database()
union all
select 'server', 'max_connections', current_setting('max_connections')::int
    - case when (select rolsuper from pg_roles where rolname = current_user) then 0 else
        current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true)::int, 0) end,
  (select count(*) from other where backend_type is distinct from 'walsender')`;

/** `client` must return its results as text. */
export async function readLimits(client: pg.Client): Promise<readonly Limit[]> {
  const { rows } = await client.query<{ of: Limit['of']; name: string; max: string | null; others: string }>(QUERY);
  return rows.map(({ max, others, ...rest }) => ({
    ...rest,
    max: max === null ? undefined : Number(max),
    others: Number(others),
  }));
}

export function roomOutcomes(limits: readonly Limit[], need: Need): readonly Outcome[] {
  const short = limits.flatMap((limit): Outcome[] => {
    const { of, name, max, others } = limit;
    // whether a WAL sender counts against the role's limit differs by version
    const needed = need.queries + (of === 'role' ? need.replication : 0);
    if (max === undefined || max - others >= needed) return [];
    const message = `Snö needs up to ${needed} connections, and ${of === 'server' ? 'the server' : `the ${of} ${name}`} allows ${max}, of which others use ${others}`;
    return [{ level: 'fail', message, hint: hintOf(limit, needed) }];
  });
  if (short.length > 0) return short;
  const room = limits
    .filter(({ max }) => max !== undefined)
    .map(({ of, max, others }) => `${of} ${(max ?? 0) - others}`);
  return [
    { level: 'ok', message: `Snö needs up to ${need.queries} connections for queries; room for: ${room.join(', ')}` },
  ];
}

function hintOf({ of, name, others }: Limit, needed: number): string {
  const less = 'or lower SNO_SNAPSHOTS, SNO_ACCESS_QUERIES or SNO_WORKERS.';
  if (of === 'server') return `Raise max_connections (with a restart), end connections that are not needed, ${less}`;
  return `Run: alter ${of} ${readableName(name)} connection limit ${others + needed}; ${less}`;
}
