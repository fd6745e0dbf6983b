/** Compiled channel views of a real database. */
import type pg from 'pg';
import type { Catalog } from '../../src/channels/catalog/catalog.ts';
import { parseCatalog } from '../../src/channels/catalog/reader.ts';
import type { BoundView, ChannelView } from '../../src/channels/channel.ts';
import { compileChannel } from '../../src/channels/compiler/compile.ts';
import { RemoteAnswers } from '../../src/channels/remote-answers.ts';
import type {} from '../../src/channels/served/served.ts';
import { snapshotValue } from '../../src/channels/served/served.ts';
import type { Tuple } from '../../src/decode/tuple.ts';
import { SnoError } from '../../src/errors.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import type { TestDatabase } from '../support/postgres.ts';
import { relationOf } from './rows.ts';

export async function catalogOf(database: TestDatabase): Promise<Catalog> {
  const { rows } = await database.query<{ catalog: string }>('select sno.catalog()::text as catalog');
  return parseCatalog(rows[0]?.catalog as string);
}

/** Compiles the channel view with this name. */
export function compileIn(catalog: Catalog, pattern: string): ChannelView | SnoError {
  const channel = catalog.channels.find((candidate) => candidate.pattern === pattern);
  if (channel === undefined) throw new Error(`no view ${pattern}`);
  return compileChannel(channel, catalog);
}

export function viewOf(catalog: Catalog, pattern: string): ChannelView {
  const view = compileIn(catalog, pattern);
  if (view instanceof SnoError) throw view;
  return view;
}

export function boundOf(catalog: Catalog, pattern: string): BoundView {
  const view = viewOf(catalog, pattern);
  const bound = view.bind(relationOf(view.tables[0]), new RemoteAnswers());
  if (bound instanceof SnoError) throw bound;
  return bound;
}

/** The rows of a snapshot of one channel. */
export async function snapshotRows(client: pg.Client, view: ChannelView, values: readonly string[] = []) {
  for (const [index, value] of values.entries())
    await client.query('select set_config($1, $2, false)', [snapshotValue(index + 1), value]);
  const { rows } = await client.query<{ readonly sno_key: string; readonly sno_data: string }>(view.snapshot.sql);
  return rows;
}

/** The compiled view's results for one row. */
export class Reading {
  readonly #bound: BoundView;

  constructor(bound: BoundView) {
    this.#bound = bound;
  }

  channel(row: Tuple): string | undefined {
    const out = new ByteWriter();
    return this.#bound.channel(row, out) ? textOf(out) : undefined;
  }

  key(row: Tuple): string {
    const out = new ByteWriter();
    this.#bound.key(row, out);
    return textOf(out);
  }

  data(row: Tuple): { readonly data: string; readonly unchanged: string } {
    const out = new ByteWriter();
    const unchanged = new ByteWriter();
    this.#bound.data(row, out, unchanged);
    return { data: textOf(out), unchanged: textOf(unchanged) };
  }
}

function textOf(bytes: ByteWriter): string {
  return bytes.buffer.toString('utf8', 0, bytes.length);
}
