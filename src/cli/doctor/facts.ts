/** The facts that `sno doctor` reads from the database. */
import type pg from 'pg';

export interface SlotFacts {
  readonly name: string;
  /** null: a physical slot. */
  readonly plugin: string | null;
  readonly database: string | null;
  readonly active: boolean;
  /** reserved, extended, unreserved or lost. */
  readonly walStatus: string | null;
  readonly retainedBytes: number;
}

/** Reasons why triggers miss DDL and TRUNCATE. */
export interface DdlFacts {
  /**
   * Names of event triggers that are disabled, or do not fire under session_replication_role =
   * replica.
   */
  readonly notAlways: readonly string[];
  /**
   * Where `event_triggers` is off: the session of this query, or settings of roles and databases.
   */
  readonly offIn: readonly string[];
  /** Partitioned tables and partitions of which a trigger for TRUNCATE is not ENABLE ALWAYS. */
  readonly unguarded: readonly string[];
}

export interface Facts {
  /** `server_version_num`: 150018. */
  readonly serverVersion: number;
  readonly inRecovery: boolean;
  readonly walLevel: string;
  readonly role: { readonly name: string; readonly replication: boolean };
  readonly install: { readonly version: number | undefined; readonly eventTrigger: boolean };
  readonly publication: { readonly tables: number } | undefined;
  /**
   * Publications of other installations of Snö on this database. `tables` is null if the
   * publication is missing.
   */
  readonly otherPublications: readonly { readonly name: string; readonly tables: number | null }[];
  readonly ddl: DdlFacts;
  readonly slots: {
    /** The database that `sno doctor` examines. */
    readonly database: string;
    readonly used: number;
    readonly max: number;
    readonly own: SlotFacts | undefined;
    readonly others: readonly SlotFacts[];
  };
  readonly senders: { readonly used: number; readonly max: number };
  /** Negative: no limit. */
  readonly slotKeepBytes: number;
  /** 0: off, or a version that does not have it. */
  readonly slotIdleTimeoutSeconds: number;
  /** Here and below: 0 is off. */
  readonly senderTimeoutMs: number;
  readonly statementTimeoutMs: number;
  readonly idleTransactionTimeoutMs: number;
  /** The oldest open transactions, prepared ones too; `end` is the SQL that ends it. */
  readonly transactions: readonly { readonly who: string; readonly ageSeconds: number; readonly end: string }[];
  /** Undefined: this role may not know. */
  readonly walDirectoryBytes: number | undefined;
}

/**
 * One statement, so that all facts are of the same time. The result is one JSON document in the
 * form of Facts.
 */
const QUERY = `
with slot as (
  select slot_name, plugin, database, active, wal_status,
    greatest(0, pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, restart_lsn)) as retained
  from pg_replication_slots
),
slot_json as (
  select slot_name, json_build_object('name', slot_name, 'plugin', plugin, 'database', database, 'active', active,
    'walStatus', wal_status, 'retainedBytes', coalesce(retained, 0)) as slot
  from slot
),
transaction as (
  select format('pid %s, %s, %s', pid, coalesce(nullif(application_name, ''), usename), state) as who,
    extract(epoch from now() - xact_start)::int as age, format('select pg_terminate_backend(%s)', pid) as stop
  from pg_stat_activity
  where xact_start is not null and pid <> pg_backend_pid() and backend_type = 'client backend'
  union all
  select format('prepared by %s', owner), extract(epoch from now() - prepared)::int, format('rollback prepared %L', gid)
  from pg_prepared_xacts
  order by 2 desc limit 5
)
select json_build_object(
  'serverVersion', current_setting('server_version_num')::int,
  'inRecovery', pg_is_in_recovery(),
  'walLevel', current_setting('wal_level'),
  'role', (select json_build_object('name', rolname, 'replication', rolreplication or rolsuper or exists (
      select from pg_roles r where r.rolname in ('rds_replication', 'rds_superuser') and pg_has_role(current_user, r.oid, 'member')))
    from pg_roles where rolname = current_user),
  'eventTrigger', exists (select from pg_event_trigger t join pg_proc p on p.oid = t.evtfoid
    where p.pronamespace = to_regnamespace('sno') and t.evtenabled <> 'D'),
  'ddl', json_build_object(
    'notAlways', (select coalesce(json_agg(t.evtname order by t.evtname), '[]') from pg_event_trigger t join pg_proc p on p.oid = t.evtfoid
      where p.pronamespace = to_regnamespace('sno') and t.evtenabled <> 'A'),
    'offIn', (select coalesce(json_agg(place), '[]') from (
      select 'this session' where current_setting('event_triggers', true) = 'off'
      union all
      select concat_ws(' ', 'role ' || r.rolname, 'database ' || d.datname)
      from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase
      where 'event_triggers=off' = any (s.setconfig) and (s.setdatabase = 0 or d.datname = current_database())) o (place)),
    'unguarded', (select coalesce(json_agg(distinct g.tgrelid::regclass::text), '[]') from pg_trigger g join pg_proc p on p.oid = g.tgfoid
      where p.pronamespace = to_regnamespace('sno') and p.proname = 'on_truncate' and g.tgenabled <> 'A')),
  'publication', (select json_build_object('tables', (select count(*) from pg_publication_tables t where t.pubname = p.pubname))
    from pg_publication p where p.pubname = $2),
  'slots', json_build_object(
    'database', current_database(),
    'used', (select count(*) from slot),
    'max', current_setting('max_replication_slots')::int,
    'own', (select slot from slot_json where slot_name = $1),
    'others', (select coalesce(json_agg(slot), '[]') from slot_json where slot_name <> $1)),
  'senders', json_build_object(
    'used', (select count(*) from pg_stat_activity where backend_type = 'walsender'),
    'max', current_setting('max_wal_senders')::int),
  'slotKeepBytes', (select setting::bigint * case when setting = '-1' then 1 else 1048576 end from pg_settings where name = 'max_slot_wal_keep_size'),
  'slotIdleTimeoutSeconds', coalesce((select setting::int from pg_settings where name = 'idle_replication_slot_timeout'), 0),
  'senderTimeoutMs', (select setting::int from pg_settings where name = 'wal_sender_timeout'),
  'statementTimeoutMs', (select setting::int from pg_settings where name = 'statement_timeout'),
  'idleTransactionTimeoutMs', (select setting::int from pg_settings where name = 'idle_in_transaction_session_timeout'),
  'transactions', (select coalesce(json_agg(json_build_object('who', who, 'ageSeconds', age, 'end', stop)), '[]') from transaction)
)::text as facts`;

type Answer = Omit<Facts, 'install' | 'walDirectoryBytes' | 'publication' | 'otherPublications' | 'slots'> & {
  readonly eventTrigger: boolean;
  readonly publication: Facts['publication'] | null;
  readonly slots: Omit<Facts['slots'], 'own'> & { readonly own: SlotFacts | null };
};

/** `client` must return its results as text (postgres/connect.ts). */
export async function readFacts(client: pg.Client, slot: string, publication: string): Promise<Facts> {
  const { rows } = await client.query<{ facts: string }>(QUERY, [slot, publication]);
  const { eventTrigger, ...answer } = JSON.parse(rows[0]?.facts as string) as Answer;
  return {
    ...answer,
    publication: answer.publication ?? undefined,
    otherPublications: await otherPublications(client, publication),
    slots: { ...answer.slots, own: answer.slots.own ?? undefined },
    install: { version: await numberOf(client, 'select sno.version() as number'), eventTrigger },
    walDirectoryBytes: await numberOf(client, 'select sum(size) as number from pg_ls_waldir()'),
  };
}

async function numberOf(client: pg.Client, sql: string): Promise<number | undefined> {
  const rows = await rowsOf<{ number: string }>(client, sql);
  return rows === undefined ? undefined : Number(rows[0]?.number);
}

const OTHER_PUBLICATIONS = `
select name, (select count(*) from pg_publication_tables t where t.pubname = p.pubname and p.pubname is not null) as tables, p.pubname
from sno.publication_names() name left join pg_publication p on p.pubname = name
where name <> $1 order by name`;

async function otherPublications(client: pg.Client, own: string): Promise<Facts['otherPublications']> {
  const rows = await rowsOf<{ name: string; tables: string; pubname: string | null }>(client, OTHER_PUBLICATIONS, [
    own,
  ]);
  return (rows ?? []).map(({ name, tables, pubname }) => ({ name, tables: pubname === null ? null : Number(tables) }));
}

/** Undefined if a function is missing, or this role may not call it. */
async function rowsOf<Row extends pg.QueryResultRow>(
  client: pg.Client,
  sql: string,
  params: readonly string[] = [],
): Promise<readonly Row[] | undefined> {
  try {
    return (await client.query<Row>(sql, [...params])).rows;
  } catch (error) {
    if (['42883', '3F000', '42501'].includes((error as { code?: string }).code ?? '')) return undefined;
    throw error;
  }
}
