/** Messages that a database emits by pg_logical_emit_message, read through a slot. */
import type { TestDatabase } from './postgres.ts';

export interface Message {
  readonly prefix: string;
  readonly transactional: boolean;
  readonly content: string;
}

export interface MessageTap {
  /** Returns the messages committed since the last call. */
  take(): Promise<Message[]>;
}

export async function tapMessages(database: TestDatabase): Promise<MessageTap> {
  const slot = `tap_${database.name}`;
  await database.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  return {
    async take() {
      const { rows } = await database.query<{ data: Buffer }>(
        "select data from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', 'sno', 'messages', 'true')",
        [slot],
      );
      return rows
        .map(({ data }) => data)
        .filter((data) => data[0] === 0x4d)
        .map(readMessage);
    },
  };
}

/** 'M', flags (1 byte), LSN (8), prefix with its NUL, length (4), content. */
function readMessage(data: Buffer): Message {
  const prefixEnd = data.indexOf(0, 10);
  return {
    transactional: data[1] === 1,
    prefix: data.toString('utf8', 10, prefixEnd),
    content: data.toString('utf8', prefixEnd + 5),
  };
}
