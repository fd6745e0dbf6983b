/**
 * Texts that depend on session settings: a row is sent as under the pinned settings, or it is a
 * fault.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { RowError } from '../../src/channels/values/row-error.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { boundOf, catalogOf, Reading } from './compiled.ts';
import { type Cell, tupleOf } from './rows.ts';
import { textsOf } from './values.ts';

/** The type of each column, and its values. */
const COLUMNS: Readonly<Record<string, readonly [type: string, ...values: string[]]>> = {
  d: ['date', '2026-11-28', '0044-03-15 BC', '12020-01-31', 'infinity', '2020-01-01'],
  t: ['timestamp', '2026-11-28 18:30:00', '2020-01-31 00:00:00.5', '0044-03-15 12:00:00 BC', '-infinity', '2020-01-01'],
  tz: [
    'timestamptz',
    '2026-11-28 18:30:00+00',
    '2020-07-01 10:00:00.000001+02',
    '0044-03-15 12:00:00+00 BC',
    'infinity',
    '2020-01-01 00:00+00',
  ],
  tod: ['time', '18:30:00', '24:00:00', '00:00:00.5', '12:00:00', '01:02:03.000004'],
  i: ['interval', '1 year 2 mons', '3 days 04:05:06', '-1 days +02:03:04.5', '0', '14:05:06'],
  b: ['bytea', 'abc', '', '\\x00ff5c', 'a\\\\b', '\\x01'],
  dr: ['daterange', '[2026-01-01,2026-02-01)', 'empty', '(,2020-01-01)', '[2020-01-01,)', '[0044-03-15 BC,2020-01-01)'],
  tr: ['tsrange', '[2026-01-01 10:00,2026-02-01)', 'empty', '(,2020-01-01]', '[2020-01-01,)', '(,)'],
  tzr: ['tstzrange', '[2026-01-01 10:00+00,2026-02-01 00:00+00)', 'empty', '(,2020-01-01]', '[2020-01-01,)', '(,)'],
  tzm: [
    'tstzmultirange',
    '{[2026-01-01 10:00+00,2026-02-01 00:00+00),[2027-01-01,)}',
    '{}',
    '{(,2020-01-01]}',
    '{(,)}',
    '{}',
  ],
  m: ['money', '1234.56', '-0.05', '0', '1000000', '-92233720368547758.08'],
  ds: [
    'date[]',
    '{2026-11-28,NULL}',
    '{}',
    '{{2020-01-01},{0044-03-15 BC}}',
    '[2:3]={infinity,2020-01-01}',
    '{2020-01-01}',
  ],
  rec: [
    'public.shaped',
    '(2026-11-28,"\\\\x01",1 day)',
    '(,,)',
    '(infinity,abc,0)',
    '(2020-01-01,"",-02:00:00)',
    '(0044-03-15 BC,"\\\\x",)',
  ],
  dom: ['public.day', '2026-11-28', '0044-03-15 BC', 'infinity', '2020-01-01', '2024-02-29'],
};
const NAMES = Object.keys(COLUMNS);
const ROWS = 5;
/**
 * Conditions over texts that depend on settings: each is true or false for a row, or the row is a
 * fault.
 */
const WHERES = [
  "d >= '2020-06-01'::date",
  "d = '2026-11-28'::date",
  "date_trunc('month'::text, t) = '2026-11-01 00:00:00'::timestamp",
  "tz > '2020-01-01 00:00:00+00'::timestamptz",
  "b = '\\x616263'::bytea",
  "'2020-01-01'::date = any (ds)",
  'd + 1 > dom',
];

const OTHER_SETTINGS: readonly string[] = [
  ...['ISO, DMY', 'SQL, MDY', 'SQL, DMY', 'Postgres, MDY', 'German, DMY'].map((style) => `DateStyle = '${style}'`),
  ...['America/New_York', 'Asia/Kolkata', 'Europe/London'].map((zone) => `TimeZone = '${zone}'`),
  ...['postgres_verbose', 'sql_standard', 'iso_8601'].map((style) => `IntervalStyle = '${style}'`),
  "bytea_output = 'escape'",
  "lc_monetary = 'C.utf8'",
  'extra_float_digits = 3',
  "DateStyle = 'SQL, DMY'; set IntervalStyle = 'sql_standard'; set bytea_output = 'escape'; set TimeZone = 'America/New_York'",
];

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database);
    await database.query(`
      create type public.shaped as (d date, b bytea, i interval);
      create domain public.day as date;
      create table public.texts (id int primary key, ${NAMES.map((name) => `${name} ${COLUMNS[name]?.[0]}`).join(', ')});
      alter table public.texts replica identity full;
      ${NAMES.map((name) => `create view channels."${name}" as select id, ${name} from public.texts;`).join('')}
      create view channels."by:{d}:{tz}" as select id, d, tz from public.texts;
      ${WHERES.map((where, index) => `create view channels."where${index}" as select id from public.texts where ${where};`).join('')}`);
    for (let row = 0; row < ROWS; row++) {
      const values = NAMES.map((name, index) => `$${index + 1}::text::${COLUMNS[name]?.[0]}`);
      await database.query(
        `insert into public.texts values (${row}, ${values.join(', ')})`,
        NAMES.map((name) => COLUMNS[name]?.[row + 1]),
      );
    }
  });
  afterAll(() => database.drop());

  /** The rows as a session with these settings prints them. */
  async function textsUnder(settings: string): Promise<Cell[][]> {
    const client = await database.connect();
    await client.query(`set TimeZone = 'UTC'; set ${settings}`);
    const { rows } = await client.query<Cell[]>({
      text: `select id, ${NAMES.join(', ')} from public.texts order by id`,
      rowMode: 'array',
      types: { getTypeParser: () => (value: string) => value } as never,
    });
    await client.end();
    return rows;
  }

  const orFault = <T>(work: () => T): T | 'fault' => {
    try {
      return work();
    } catch (error) {
      expect(error).toBeInstanceOf(RowError);
      return 'fault';
    }
  };

  test('data, channel names and conditions are the same as under the pinned settings, or the row is a fault', async () => {
    const catalog = await catalogOf(database);
    const pinned = await textsOf(database, 'public.texts', ['id', ...NAMES]);
    const views = [...NAMES, 'by:{d}:{tz}', ...WHERES.map((_, index) => `where${index}`)];
    let faults = 0;
    for (const view of views) {
      const bound = boundOf(catalog, view);
      const reading = new Reading(bound);
      const said = (cells: readonly Cell[]) => {
        const row = tupleOf(cells);
        return [bound.matches(row), reading.channel(row), reading.data(row).data];
      };
      const wanted = pinned.map(said);
      for (const settings of OTHER_SETTINGS) {
        for (const [index, cells] of (await textsOnce(settings)).entries()) {
          const found = orFault(() => said(cells));
          if (found === 'fault') faults++;
          else expect({ view, settings, found }).toEqual({ view, settings, found: wanted[index] });
        }
      }
    }
    expect(faults).toBeGreaterThan(100);
  });

  const known = new Map<string, Cell[][]>();
  async function textsOnce(settings: string): Promise<Cell[][]> {
    const texts = known.get(settings) ?? (await textsUnder(settings));
    known.set(settings, texts);
    return texts;
  }

  test('data equals row_to_json under the pinned settings', async () => {
    await database.query("set TimeZone = 'UTC'; set DateStyle = 'ISO, MDY'; set lc_monetary = 'C'");
    const catalog = await catalogOf(database);
    const pinned = await textsOf(database, 'public.texts', ['id', ...NAMES]);
    for (const name of NAMES) {
      const reading = new Reading(boundOf(catalog, name));
      const { rows } = await database.query<{ data: string }>(
        `select row_to_json(v.*)::text as data from channels."${name}" v order by id`,
      );
      expect(pinned.map((cells) => reading.data(tupleOf(cells)).data)).toEqual(rows.map(({ data }) => data));
    }
  });
});
