/**
 * Checks whether the disk has room for the WAL that the slot may hold. SQL cannot tell how much is
 * free. If Postgres runs on this machine, the file system can.
 */
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { sizeText } from '../../size.ts';
import { type Outcome, ok, warn } from './finding.ts';

/** Share of the room above which the limit is a warning: other files need room too. */
const SHARE = 0.8;

export interface Room {
  readonly freeBytes: number;
  /** Bytes of WAL that the slot already holds. */
  readonly heldBytes: number;
}

/** Returns the free bytes of the WAL's disk. Undefined: this role or this machine cannot know. */
export async function freeBytesOf(client: pg.Client, isNear: boolean): Promise<number | undefined> {
  if (!isNear) return undefined;
  const { rows } = await client.query<{ folder: string | null }>(
    "select setting as folder from pg_settings where name = 'data_directory'",
  );
  const folder = rows[0]?.folder;
  if (folder === undefined || folder === null) return undefined;
  // pg_wal may be a link to another disk. Often only Postgres's own user may enter the folder.
  for (const path of [join(folder, 'pg_wal'), folder]) {
    try {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    } catch {
      // The next one, or another machine's folder.
    }
  }
  return undefined;
}

/** `boundBytes`: what the slot may hold. Undefined: there is no bound. */
export function diskOutcome(boundBytes: number | undefined, room: Room | undefined): Outcome {
  if (room === undefined)
    return ok('how much room the disk of the WAL has cannot be told from here: watch it on its machine');
  const all = room.freeBytes + room.heldBytes;
  const text = `the disk of the WAL has ${sizeText(room.freeBytes)} free`;
  if (boundBytes === undefined)
    return warn(
      `${text}, and nothing bounds the WAL that the slot holds`,
      'Set SNO_SLOT_WAL_BYTES and max_slot_wal_keep_size.',
    );
  if (boundBytes <= SHARE * all) return ok(`${text}, and the slot may hold ${sizeText(boundBytes)}`);
  const hint = `Lower SNO_SLOT_WAL_BYTES and max_slot_wal_keep_size below ${sizeText(SHARE * all)}, or make room.`;
  const end = boundBytes > all ? ': the disk is full before that' : ' of it';
  return warn(`${text}, and the slot may hold ${sizeText(boundBytes)}${end}`, hint);
}
