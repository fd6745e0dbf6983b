/** The facts that setup reads from a database before it reports what is missing. */
import type pg from 'pg';

export interface SetupFacts {
  /** `server_version_num`: 150018. */
  readonly serverVersion: number;
  readonly inRecovery: boolean;
  readonly walLevel: string;
  readonly database: string;
  readonly role: string;
  /** Superuser, REPLICATION, or a provider's equivalent. */
  readonly replication: boolean;
  /** `sno.version()`; undefined if nothing is installed. */
  readonly installed: number | undefined;
  readonly eventTriggers: boolean;
  readonly publication: PublicationFacts | undefined;
  /** Facts about the service's role, if one was named. */
  readonly service: ServiceFacts | undefined;
  /** Facts that can be read only if the functions are installed. */
  readonly inside: InsideFacts | undefined;
}

export interface PublicationFacts {
  readonly allTables: boolean;
  /**
   * Whether it publishes inserts, updates, deletes and truncates, partitions as their root, and
   * stored generated columns.
   */
  readonly complete: boolean;
}

export interface InsideFacts {
  /** Whether the event triggers keep the publication up to date. */
  readonly isRegistered: boolean;
  /**
   * Tables that channels need, and that could be published but are not, or not for all their
   * writers.
   */
  readonly unpublished: readonly string[];
  /** Missing grants on schemas, tables, functions and views that the role needs. */
  readonly forbidden: readonly string[];
}

export interface ServiceFacts {
  readonly exists: boolean;
  readonly replication: boolean;
  /**
   * Missing grants on what the service reads; undefined if the functions that list them are not
   * installed.
   */
  readonly lacking: readonly string[] | undefined;
  /** Whether DDL grants further views and tables to this role. */
  readonly isRemembered: boolean;
  /** The roles that create views, whose default privileges matter. */
  readonly owners: readonly string[];
}

const FACTS = `
select json_build_object(
  'serverVersion', current_setting('server_version_num')::int,
  'inRecovery', pg_is_in_recovery(),
  'walLevel', current_setting('wal_level'),
  'database', current_database(),
  'role', current_user,
  'replication', (select rolsuper or rolreplication from pg_roles where rolname = current_user) or exists (
    select from pg_roles r where r.rolname in ('rds_replication', 'rds_superuser') and pg_has_role(current_user, r.oid, 'member')),
  'eventTriggers', (
    select count(*) = 2 from pg_event_trigger t join pg_proc p on p.oid = t.evtfoid
    where t.evtname in ('sno_ddl', 'sno_drop') and p.pronamespace = to_regnamespace('sno') and t.evtenabled = 'A')
    and coalesce(current_setting('event_triggers', true), 'on') = 'on',
  'publication', (
    select json_build_object('allTables', puballtables,
      'complete', pubinsert and pubupdate and pubdelete and pubtruncate and pubviaroot
        and coalesce(to_jsonb(p) ->> 'pubgencols', 's') = 's')
    from pg_publication p where pubname = $1),
  'isInstalled', exists (select from pg_proc where pronamespace = to_regnamespace('sno') and proname = 'version')
)::text as facts`;

const FORBIDDEN = 'select statement as name from sno.lacking(current_user) where is_essential order by 1';

const UNPUBLISHED = `
select distinct c.oid::regclass::text as name
from sno.below() b join pg_class c on c.oid = b.relation
where c.relkind in ('r', 'p') and c.relpersistence = 'p' and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  and not c.relispartition and sno.identified(c.oid, $1) is not false
  and c.oid not in (select sno.published($1))
  -- one with a column list or a row filter is somebody's choice
  and not (exists (select from pg_publication p join pg_publication_rel r on r.prpubid = p.oid where p.pubname = $1 and r.prrelid = c.oid)
    and c.oid not in (select t.relation from sno.publication_tables($1) t))`;

const SERVICE = `
select json_build_object(
  'exists', exists (select from pg_roles where rolname = $1),
  'replication', exists (select from pg_roles where rolname = $1 and (rolreplication or rolsuper)),
  'owners', (
    select json_agg(distinct name)
    from (
      select current_user::text
      union select pg_get_userbyid(nspowner)::text from pg_namespace where nspname in ('channels', 'channel_access', 'channel_presence', 'channel_send')
      union select pg_get_userbyid(relowner)::text from pg_class
        where relnamespace in (select oid from pg_namespace where nspname in ('channels', 'channel_access', 'channel_presence', 'channel_send'))) o (name))
)::text as name`;

type Answer = Omit<SetupFacts, 'installed' | 'publication' | 'service' | 'inside'> & {
  readonly publication: PublicationFacts | null;
  readonly isInstalled: boolean;
};

/**
 * `client` must return its results as text (postgres/connect.ts). `service` is the name of the
 * service's own role, if any.
 */
export async function readSetupFacts(
  client: pg.ClientBase,
  publication: string,
  service?: string,
): Promise<SetupFacts> {
  const { rows } = await client.query<{ facts: string }>(FACTS, [publication]);
  const { isInstalled, publication: published, ...answer } = JSON.parse(rows[0]?.facts as string) as Answer;
  const installed = isInstalled ? Number((await namesOf(client, 'select sno.version() as name'))[0]) : undefined;
  const isCurrent = installed !== undefined && installed >= LACKING_VERSION;
  const facts = {
    ...answer,
    publication: published ?? undefined,
    installed,
    service:
      service === undefined
        ? undefined
        : await readServiceFacts(client, publication, { role: service, isInstalled: isCurrent }),
  };
  if (installed === undefined || installed < INSIDE_VERSION) return { ...facts, inside: undefined };
  const forbidden = await namesOf(client, FORBIDDEN);
  if (forbidden.length > 0) return { ...facts, inside: { isRegistered: true, unpublished: [], forbidden } };
  const registered = await namesOf(client, 'select p as name from sno.publication_names() p where p = $1', [
    publication,
  ]);
  const unpublished = await namesOf(client, UNPUBLISHED, [publication]);
  return { ...facts, inside: { isRegistered: registered.length > 0, unpublished, forbidden } };
}

/** The version of the installed functions that supports several publications. */
const INSIDE_VERSION = 8;
/** The version of the installed functions that has `sno.lacking()`. */
const LACKING_VERSION = 3;

/** The role that the publication was set up for; undefined if none was named. */
export async function rememberedService(client: pg.ClientBase, publication: string): Promise<string | undefined> {
  const [known] = await namesOf(client, "select to_regprocedure('sno.service_roles(name)')::text as name");
  if (known !== null) return (await namesOf(client, 'select s as name from sno.service_roles($1) s', [publication]))[0];
  // Earlier functions knew one role for all publications.
  const [settings] = await namesOf(client, "select to_regclass('sno.settings')::text as name");
  if (settings === null) return undefined;
  return (await namesOf(client, "select value as name from sno.settings where name = 'service_role'"))[0];
}

async function readServiceFacts(
  client: pg.ClientBase,
  publication: string,
  { role, isInstalled }: { readonly role: string; readonly isInstalled: boolean },
): Promise<ServiceFacts> {
  const [facts] = await namesOf(client, SERVICE, [role]);
  const known = JSON.parse(facts as string) as Pick<ServiceFacts, 'exists' | 'replication' | 'owners'>;
  if (!isInstalled) return { ...known, lacking: undefined, isRemembered: false };
  return {
    ...known,
    lacking: await namesOf(client, 'select statement as name from sno.lacking($1) order by 1', [role]),
    isRemembered: (await rememberedService(client, publication)) === role,
  };
}

async function namesOf(client: pg.ClientBase, sql: string, params: readonly string[] = []): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(sql, [...params]);
  return rows.map(({ name }) => name);
}
