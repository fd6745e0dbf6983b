/** Frames of the server, as in docs/protocol.md. */
import { bytesOf } from './wal.ts';

export interface RowEvent {
  readonly op: string;
  readonly key?: unknown;
  readonly data?: unknown;
  readonly old?: unknown;
}

export interface Frame {
  readonly type: string;
  readonly channel?: string;
  readonly position?: string;
  readonly lsn?: string;
  readonly xid?: number;
  readonly rows?: readonly { readonly key: unknown; readonly data: unknown }[];
  readonly events?: readonly RowEvent[];
  readonly reason?: string;
  readonly code?: string | number;
  readonly recovered?: boolean;
  readonly last?: boolean;
  readonly part?: number;
  readonly data?: unknown;
  readonly event?: string;
}

/** Positions are opaque to clients, but an oracle may read them: `epoch:high/low:index`. */
export function epochOf(position: string): string {
  return position.split(':')[0] as string;
}

export function lsnOf(position: string): number {
  return bytesOf(position.split(':')[1] as string);
}

/** Negative if `a` is before `b`; both must be of one epoch. */
export function compare(a: string, b: string): number {
  const indexOf = (position: string) => Number(position.split(':')[2]);
  return lsnOf(a) - lsnOf(b) || indexOf(a) - indexOf(b);
}

/**
 * Applies an event to the rows. Returns a violation if the event does not fit and the rows are
 * complete (`isWhole`). `old`: whether updates and deletes must contain the old row.
 */
export function apply(rows: Map<string, string>, event: RowEvent, isWhole: boolean, old = false): string | undefined {
  const { op, key, data } = event;
  const id = JSON.stringify(key);
  const held = rows.get(id);
  const isHeld = held !== undefined;
  const wrong = wrongOld(event, held, isWhole, old && (op === 'update' || op === 'delete'));
  if (op === 'truncate') rows.clear();
  else if (op === 'delete') rows.delete(id);
  else rows.set(id, JSON.stringify(data));
  if (wrong !== undefined) return `${op} of ${id}: ${wrong}`;
  if (!isWhole || op === 'truncate' || isHeld === (op !== 'insert')) return undefined;
  return `${op} of a row that is ${isHeld ? '' : 'not '}held: ${id}`;
}

function wrongOld({ old }: RowEvent, held: string | undefined, isWhole: boolean, isDue: boolean): string | undefined {
  if ((old !== undefined) !== isDue) return isDue ? 'the old row is missing' : 'an old row that is not due';
  const text = JSON.stringify(old);
  return isDue && isWhole && held !== undefined && text !== held
    ? `the old row is ${text}, held is ${held}`
    : undefined;
}
