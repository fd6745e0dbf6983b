/** What setup asks of a database before it says what is missing. */
import type pg from 'pg';

export interface SetupFacts {
  /** `server_version_num`: 150018. */
  readonly serverVersion: number;
  readonly inRecovery: boolean;
  readonly walLevel: string;
  readonly role: string;
  /** Superuser, REPLICATION, or what a provider has in its place. */
  readonly replication: boolean;
  /** `sno.version()`; undefined where nothing is installed. */
  readonly installed: number | undefined;
  readonly eventTriggers: boolean;
  readonly publication: PublicationFacts | undefined;
  /** Facts that can only be asked where the functions are installed. */
  readonly inside: InsideFacts | undefined;
}

export interface PublicationFacts {
  readonly allTables: boolean;
  /** Publishes inserts, updates, deletes and truncates, partitions as their root, stored generated columns. */
  readonly complete: boolean;
}

export interface InsideFacts {
  /** The publication that the event triggers look after. */
  readonly publication: string | null;
  /** Tables that channels need, and that could be published but are not. */
  readonly unpublished: readonly string[];
  /** Schemas, tables, functions and views that the role may not use. */
  readonly forbidden: readonly string[];
}

const FACTS = `
select json_build_object(
  'serverVersion', current_setting('server_version_num')::int,
  'inRecovery', pg_is_in_recovery(),
  'walLevel', current_setting('wal_level'),
  'role', current_user,
  'replication', (select rolsuper or rolreplication from pg_roles where rolname = current_user) or exists (
    select from pg_roles r where r.rolname in ('rds_replication', 'rds_superuser') and pg_has_role(current_user, r.oid, 'member')),
  'eventTriggers', (
    select count(*) = 2 from pg_event_trigger t join pg_proc p on p.oid = t.evtfoid
    where t.evtname in ('sno_ddl', 'sno_drop') and p.pronamespace = to_regnamespace('sno') and t.evtenabled in ('O', 'A')),
  'publication', (
    select json_build_object('allTables', puballtables,
      'complete', pubinsert and pubupdate and pubdelete and pubtruncate and pubviaroot
        and coalesce(to_jsonb(p) ->> 'pubgencols', 's') = 's')
    from pg_publication p where pubname = $1),
  'isInstalled', exists (select from pg_proc where pronamespace = to_regnamespace('sno') and proname = 'version')
)::text as facts`;

const FORBIDDEN = `
select n.nspname as name from pg_namespace n
where n.nspname in ('sno', 'channels', 'channel_access') and not has_schema_privilege(n.oid, 'usage')
union all
select p.oid::regprocedure::text from pg_proc p
where p.pronamespace = to_regnamespace('sno') and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
  and not has_function_privilege(p.oid, 'execute')
union all
select c.oid::regclass::text from pg_class c
where c.relnamespace in (to_regnamespace('channels'), to_regnamespace('channel_access')) and c.relkind in ('v', 'm')
  and not has_table_privilege(c.oid, 'select')
union all
select c.oid::regclass::text from pg_class c
where c.relnamespace = to_regnamespace('sno') and c.relkind = 'r' and c.relname in ('settings', 'rules', 'slot')
  and exists (select from unnest('{select,insert,update,delete}'::text[]) p where not has_table_privilege(c.oid, p))`;

const UNPUBLISHED = `
select distinct c.oid::regclass::text as name
from sno.below() b join pg_class c on c.oid = b.relation
where c.relkind in ('r', 'p') and c.relpersistence = 'p' and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  and not c.relispartition and sno.identified(c.oid) is not false
  and not exists (select from pg_publication p join pg_publication_rel r on r.prpubid = p.oid where p.pubname = $1 and r.prrelid = c.oid)
  and c.oid not in (select sno.published($1))`;

type Answer = Omit<SetupFacts, 'installed' | 'publication' | 'inside'> & {
  readonly publication: PublicationFacts | null;
  readonly isInstalled: boolean;
};

/** `client` gives its results as text (postgres/connect.ts). */
export async function readSetupFacts(client: pg.ClientBase, publication: string): Promise<SetupFacts> {
  const { rows } = await client.query<{ facts: string }>(FACTS, [publication]);
  const { isInstalled, publication: published, ...answer } = JSON.parse(rows[0]?.facts as string) as Answer;
  const facts = { ...answer, publication: published ?? undefined };
  if (!isInstalled) return { ...facts, installed: undefined, inside: undefined };
  const version = await client.query<{ version: string }>('select sno.version() as version');
  const installed = Number(version.rows[0]?.version);
  const forbidden = await namesOf(client, FORBIDDEN);
  if (forbidden.length > 0) return { ...facts, installed, inside: { publication, unpublished: [], forbidden } };
  const setting = await client.query<{ value: string }>("select value from sno.settings where name = 'publication'");
  const unpublished = await namesOf(client, UNPUBLISHED, [publication]);
  return { ...facts, installed, inside: { publication: setting.rows[0]?.value ?? null, unpublished, forbidden } };
}

async function namesOf(client: pg.ClientBase, sql: string, params: readonly string[] = []): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(sql, [...params]);
  return rows.map(({ name }) => name);
}
