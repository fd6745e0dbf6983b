/** A page with a collection of TanStack DB, which a test drives by `globalThis.app`. */
import { createCollection } from '@tanstack/db';
import { connect } from '../../../src/client/index.ts';
import { snoCollectionOptions } from '../../../src/client/tanstack/index.ts';
import { type Note, textOf } from './notes.ts';

/** The app's server: writes to the database and returns the transaction's id. */
type Write = (sql: string) => Promise<string>;

function open(url: string, room: number, write: Write) {
  const client = connect(url, { backoff: { baseMs: 10, capMs: 100 }, keepMs: 0 });
  const notes = createCollection(
    snoCollectionOptions<Note, number>({
      client,
      channel: `room:${room}`,
      getKey: (note) => note.id,
      onInsert: async ({ transaction }) => {
        const { id, body } = transaction.mutations[0].modified;
        return write(`insert into notes values (${id}, ${room}, '${body}')`);
      },
      onUpdate: async ({ transaction }) => {
        const { key, changes } = transaction.mutations[0];
        return write(`update notes set body = '${changes.body}' where id = ${key}`);
      },
      onDelete: async ({ transaction }) => write(`delete from notes where id = ${transaction.mutations[0].key}`),
    }),
  );
  /** What the collection showed after each of its changes. */
  const shown: string[] = [];
  const show = (): string => textOf([...notes.values()].map(({ id, room: of, body }) => ({ id, room: of, body })));
  notes.subscribeChanges(() => shown.push(show()), { includeInitialState: true });
  return { client, notes, shown, show };
}

let opened: ReturnType<typeof open>;
const app = {
  open: (url: string, room: number, write: Write): void => {
    opened = open(url, room, write);
  },
  state: () => ({ status: opened.notes.status, shown: opened.shown, now: opened.show() }),
  insert: (note: Note) =>
    opened.notes
      .insert(note)
      .when('settled')
      .then(() => opened.show()),
  update: (id: number, body: string) =>
    opened.notes
      .update(id, (note) => {
        (note as { body: string }).body = body;
      })
      .when('settled')
      .then(() => opened.show()),
  remove: (id: number) =>
    opened.notes
      .delete(id)
      .when('settled')
      .then(() => opened.show()),
  reached: (commit: string) =>
    opened.notes.utils.reached(commit).then(
      () => 'reached',
      (error: { code: string }) => error.code,
    ),
  async close() {
    await opened.notes.cleanup();
    await opened.client.close();
  },
};

export type TanstackPage = typeof app;
Object.assign(globalThis, { app });
