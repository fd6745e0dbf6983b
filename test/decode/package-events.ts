/**
 * What pg-logical-replication's plugin makes of pgoutput messages, in the form of `recording.ts`.
 * It shares nothing with the decoder. Where it decodes differently, this says so and puts it right.
 */
import type { Pgoutput } from 'pg-logical-replication';
import { formatLsn, parseLsn } from '../../src/lsn.ts';
import { TextPlugin } from '../support/text-plugin.ts';
import type { Event, Row } from './recording.ts';

const EPOCH_2000_US = 946_684_800_000_000n;

/** An event without what only one of the two decoders has. */
export type Comparable = Readonly<Record<string, unknown>>;

/** What the package makes of the messages, from a fresh start. */
export function packageEventsOf(messages: readonly Buffer[]): Comparable[] {
  const plugin = new TextPlugin('any');
  return messages.flatMap((message) => comparableOf(plugin.parse(message)));
}

function comparableOf(message: Pgoutput.Message): Comparable[] {
  switch (message.tag) {
    case 'begin':
      // Transaction ids are unsigned.
      return [
        {
          kind: 'begin',
          xid: message.xid >>> 0,
          lsn: lsnOf(message.commitLsn),
          at: Number(message.commitTime.valueOf() - EPOCH_2000_US),
        },
      ];
    case 'commit':
      return [{ kind: 'commit', lsn: lsnOf(message.commitEndLsn) }];
    case 'relation':
      return [
        {
          kind: 'relation',
          // So are oids.
          oid: message.relationOid >>> 0,
          schema: message.schema,
          name: message.name,
          replicaIdentity: message.replicaIdentity[0],
          columns: message.columns.map(({ name, typeOid, typeMod, flags }) => ({
            name,
            typeOid: typeOid >>> 0,
            typeModifier: typeMod,
            identity: flags === 1,
          })),
        },
      ];
    case 'insert':
      return [{ kind: 'insert', table: message.relation.name, row: { ...message.new } }];
    case 'update': {
      const { key, old, relation } = message;
      const before = { ...(old ?? key) };
      // It leaves out an unchanged large value of the key, which the old key has.
      const row = Object.fromEntries(
        Object.entries(message.new).map(([name, value]) => [name, value === undefined ? key?.[name] : value]),
      );
      const was = old === null && key === null ? {} : { old: before, keyOnly: old === null };
      return [{ kind: 'update', table: relation.name, ...was, row }];
    }
    case 'delete': {
      const { key, old, relation } = message;
      return [{ kind: 'delete', table: relation.name, old: { ...(old ?? key) }, keyOnly: old === null }];
    }
    case 'truncate':
      return [{ kind: 'truncate', tables: message.relations.map(({ name }) => name) }];
    case 'message': {
      const { prefix, content, messageLsn, transactional } = message;
      return transactional ? [{ kind: 'message', prefix, lsn: lsnOf(messageLsn), content: Buffer.from(content) }] : [];
    }
    default:
      return [];
  }
}

/** The decoder's events in the same form: of an old key, only the columns of the key. */
export function comparable(events: readonly Event[]): Comparable[] {
  const keys = new Map<string, readonly string[]>();
  return events.map((event) => {
    if (event.kind === 'relation') {
      const { oid, schema, name, replicaIdentity, columns } = event.relation;
      keys.set(
        name,
        columns.filter(({ identity }) => identity).map((column) => column.name),
      );
      return { kind: 'relation', oid, schema, name, replicaIdentity, columns };
    }
    if (!('old' in event) || event.old === undefined || event.keyOnly !== true) return { ...event };
    const old: Row = event.old;
    return { ...event, old: Object.fromEntries((keys.get(event.table) ?? []).map((name) => [name, old[name]])) };
  });
}

/** It pads both halves with zeros. */
function lsnOf(text: string | null): string {
  return formatLsn(parseLsn(text ?? '0/0') ?? 0);
}
