/**
 * The plan of setup: the steps that a database needs before Snö can read it, and which of them are
 * still to do. `sno setup` prints or applies the plan (apply.ts). The wal stage creates the slot.
 */
import { readFile } from 'node:fs/promises';
import type pg from 'pg';
import { ACCESS_SCHEMAS, INSTALL_VERSION } from '../channels/catalog/catalog.ts';
import { readCatalog } from '../channels/catalog/reader.ts';
import { ChannelRegistry } from '../channels/definitions/registry.ts';
import { loadParser } from '../channels/sql/parse.ts';
import { SnoError } from '../errors.ts';
import { quoteIdentifier, quoteLiteral, readableName } from '../postgres/quote.ts';
import { canDecode } from '../postgres/wal-level.ts';
import { readSetupFacts, type SetupFacts } from './facts.ts';

const SERVER_VERSION_MIN = 150_000;
const VIEW_SCHEMAS = ['channels', ...ACCESS_SCHEMAS].join(', ');

export interface SetupStep {
  readonly what: string;
  /**
   * One or several complete statements, to be run in one transaction by a role with the rights for
   * it.
   */
  readonly sql: string;
  /** False: the database has it already. */
  readonly needed: boolean;
  /**
   * `optional`: Snö runs without it, with drawbacks. `manual`: only a person can do it, such as
   * restarting Postgres. `suggested`: the operator may prefer another way, so Snö never runs it by
   * itself.
   */
  readonly kind: 'required' | 'optional' | 'manual' | 'suggested';
}

export interface SetupOptions {
  /** Name of the publication. */
  readonly publication: string;
  /** Whether to change the replica identities of tables whose channels are refused without it. */
  readonly identities: boolean;
  /**
   * A role for the service alone. Setup creates it if missing and grants what the service needs, or
   * only suggests it.
   */
  readonly service?: { readonly role: string; readonly isSuggestion: boolean };
}

const sqlFile = (name: string) => readFile(new URL(`../../sql/${name}`, import.meta.url), 'utf8');

/**
 * Returns every step in the order in which they must run, including those already done. Changes
 * nothing. Throws `database_too_old`, `database_standby`, or `setup_required` if a newer Snö has
 * set the database up.
 */
export async function planSetup(client: pg.ClientBase, options: SetupOptions): Promise<SetupStep[]> {
  const facts = await readSetupFacts(client, options.publication, options.service?.role);
  checkServer(facts);
  return [
    {
      what: 'wal_level allows Postgres to decode row changes',
      sql: "alter system set wal_level = 'logical'; -- then restart Postgres; on managed Postgres, use the provider's switch",
      needed: !canDecode(facts.serverVersion, facts.walLevel),
      kind: 'manual',
    },
    {
      what: `the role ${facts.role} may replicate`,
      sql: `alter role ${readableName(facts.role)} replication;`,
      needed: !facts.replication,
      kind: 'required',
    },
    {
      what: 'the schemas of Snö (sno, channels, channel_access, channel_presence, channel_send) with their functions',
      sql: await sqlFile('000001_install.sql'),
      needed: facts.installed !== INSTALL_VERSION,
      kind: 'required',
    },
    privileges(facts),
    publication(facts, options.publication),
    ...(options.identities ? await identities(client, facts, options.publication) : []),
    {
      what: 'the tables of channels and access views in the publication',
      sql: `select relation, result, reason from sno.sync_publication(${quoteLiteral(options.publication)});\nselect sno.exclude_writers(${quoteLiteral(options.publication)});`,
      needed: (facts.inside?.unpublished ?? []).length > 0,
      kind: 'required',
    },
    {
      what: 'event triggers that put DDL of channels into the WAL',
      sql: await sqlFile('000002_event_trigger.sql'),
      needed: !facts.eventTriggers,
      kind: 'optional',
    },
    ...serviceRole(facts, options),
  ];
}

function checkServer({ serverVersion, inRecovery, installed }: SetupFacts): void {
  if (inRecovery)
    throw new SnoError('database_standby', 'the server is a standby: Snö can set up and read nothing there');
  if (serverVersion < SERVER_VERSION_MIN) {
    throw new SnoError('database_too_old', `the server is Postgres ${Math.floor(serverVersion / 10_000)}`);
  }
  if (installed !== undefined && installed > INSTALL_VERSION) {
    throw new SnoError(
      'setup_required',
      `a newer Snö set up the database (version ${installed}; this Snö needs version ${INSTALL_VERSION})`,
      {
        hint: 'Run the newer version of Snö.',
      },
    );
  }
}

function privileges({ role, inside }: SetupFacts): SetupStep {
  const forbidden = inside?.forbidden ?? [];
  return {
    what: `the role ${role} may use them`,
    sql: [
      ...forbidden,
      `alter default privileges in schema ${VIEW_SCHEMAS} grant select on tables to ${quoteIdentifier(role)};`,
    ].join('\n'),
    needed: forbidden.length > 0,
    kind: 'required',
  };
}

/**
 * A role that may replicate and read what is published, and nothing else. Event triggers grant it
 * future views and tables. Without event triggers, default privileges do so for views.
 */
function serviceRole({ database, service }: SetupFacts, options: SetupOptions): SetupStep[] {
  if (service === undefined || options.service === undefined) return [];
  const { role, isSuggestion } = options.service;
  const { exists, replication, lacking, isRemembered, owners } = service;
  const name = quoteIdentifier(role);
  const grants = lacking ?? [
    `grant usage on schema sno, ${VIEW_SCHEMAS} to ${name};`,
    `grant execute on all functions in schema sno to ${name};`,
    `grant select on sno.settings to ${name};`,
    `grant select on all tables in schema ${VIEW_SCHEMAS} to ${name};`,
  ];
  const remember = `update sno.publications set service_role = ${quoteLiteral(role)} where name = ${quoteLiteral(options.publication)};`;
  return [
    {
      what: `the role ${role}, which may only replicate and read what is published`,
      sql: [
        ...(exists ? [] : [createRole(role)]),
        ...(exists && !replication ? [`alter role ${name} replication;`] : []),
        `grant connect on database ${quoteIdentifier(database)} to ${name};`,
        ...grants,
        ...owners.map(
          (owner) =>
            `alter default privileges for role ${quoteIdentifier(owner)} in schema ${VIEW_SCHEMAS} grant select on tables to ${name};`,
        ),
        ...(isRemembered ? [] : [remember]),
        'select object as relation, reason, null as result from sno.grant_service();',
      ].join('\n'),
      needed: !exists || !replication || !isRemembered || grants.length > 0,
      kind: isSuggestion ? 'suggested' : 'required',
    },
  ];
}

/** Two databases of one server may be set up at the same time. */
function createRole(role: string): string {
  return [
    '-- it cannot log in by password until you set one: alter role ... password',
    'do $$ begin',
    `  create role ${quoteIdentifier(role)} login replication nosuperuser nocreatedb nocreaterole;`,
    'exception when duplicate_object or unique_violation then null;',
    'end $$;',
  ].join('\n');
}

const PUBLISH = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
const GENERATED_SINCE = 180_000;

/**
 * The options that the publication needs. Without stored generated columns, Postgres 18 refuses the
 * application's UPDATE and DELETE on tables that have some and use replica identity FULL.
 */
export function publicationOptions(serverVersion: number): string {
  return serverVersion >= GENERATED_SINCE ? `${PUBLISH}, publish_generated_columns = stored` : PUBLISH;
}

function publication({ serverVersion, publication: existing, inside }: SetupFacts, name: string): SetupStep {
  const identifier = readableName(name);
  const options = publicationOptions(serverVersion);
  const statements = [
    existing === undefined ? `create publication ${identifier} with (${options});` : '',
    existing?.complete === false ? `alter publication ${identifier} set (${options});` : '',
    (inside?.isRegistered ?? name === 'sno') ? '' : `select sno.use_publication(${quoteLiteral(name)});`,
  ].filter((statement) => statement !== '');
  return {
    what: `the publication ${name}`,
    sql: statements.join('\n'),
    needed: statements.length > 0,
    kind: 'required',
  };
}

/** Matches a hint that is complete SQL: a hint that leaves a choice to a person does not match. */
const IDENTITY_SQL = /^(?:alter table [^,()\n]*;\n?)+$/i;

/** The ALTER TABLE statements without which channels are refused. */
async function identities(
  client: pg.ClientBase,
  { installed, inside }: SetupFacts,
  publication: string,
): Promise<SetupStep[]> {
  if (installed !== INSTALL_VERSION || inside === undefined || inside.forbidden.length > 0) return [];
  await loadParser();
  const registry = new ChannelRegistry(publication);
  registry.load(await readCatalog(client, publication));
  const mends = new Map<string, string[]>();
  for (const { schema, pattern, error } of registry.refusals()) {
    if (!IDENTITY_SQL.test(error.hint)) continue;
    mends.set(error.hint, [...(mends.get(error.hint) ?? []), readableName(schema, pattern)]);
  }
  return [...mends].map(([sql, views]) => ({
    what: `the replica identity that ${views.join(', ')} needs`,
    sql,
    needed: true,
    kind: 'required',
  }));
}
